"""A machine whose memory other programs take: rbee in a control group of its own."""

from __future__ import annotations

import re
import subprocess

import pytest
from pytest_bdd import given, parsers, then, when

from eventually import eventually
from faults import memory
from world import RBEE

ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@pytest.fixture
def machine(world):
    """Groups by name, removed when nothing of rbee is in them any more."""
    made = {}
    yield made
    if "eater" in world.seen:
        world.seen["eater"].kill()
        world.seen["eater"].communicate()
    world.home.keeper("down")
    for group in made.values():
        eventually(lambda group=group: not (group / "cgroup.procs").read_text(), within_s=10)
        for folder in (*group.glob("*/"), group):
            folder.rmdir()


@given(parsers.parse("rbee is up on a machine of {size_mib:d} MiB"))
def up_on_small(world, machine, size_mib):
    group = memory.small_machine(f"bdd-{world.home.path.name}", size_mib << 20)
    if group is None:
        pytest.skip("privilege: no control group of v1 with a memory limit can be made here")
    machine["group"] = group
    command = ["sh", "-c", ENTER, str(group), RBEE, "up", "--detach"]
    done = subprocess.run(command, env=world.home.env, check=False, capture_output=True, timeout=60)
    assert done.returncode == 0, done


def places(world):
    shown = world.home.ask("GET", "/metrics").text
    return int(float(re.search(r"^rbee_queue_places (\S+)$", shown, re.MULTILINE)[1]))


@given(parsers.parse("{count:d} places are in its line"))
def so_many_places(world, count):
    assert places(world) == count


@when(parsers.parse("another program takes all but {percent:d} % of the memory"))
def taken(world, machine, percent):
    world.seen["eater"] = memory.eat_up_to(machine["group"], percent / 100)


@when("the other program ends")
def given_back(world):
    world.seen["eater"].communicate(timeout=10)


@then(parsers.parse("{count:d} places are in its line within {limit_s:d} s"))
def places_within(world, count, limit_s):
    eventually(lambda: places(world) == count, within_s=limit_s)


@then(parsers.parse("more than {count:d} places are in its line within {limit_s:d} s"))
def more_places(world, count, limit_s):
    eventually(lambda: places(world) > count, within_s=limit_s)
