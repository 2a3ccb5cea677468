"""Given, When, Then: many workers that die at the same time."""

from __future__ import annotations

import itertools

from pytest_bdd import given, parsers, then, when

from eventually import eventually


@given("an engine that crashes at once")
def crasher(world, tmp_path):
    """It writes down that it was started. What it is asked about itself it answers."""
    world.seen["starts"] = tmp_path / "starts"
    world.seen["starts"].touch()
    program = tmp_path / "llama-server"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--version*|*--list-devices*) echo "version: 1 (0)"; exit 0;; esac\n'
        f"echo started >>{world.seen['starts']}\nkill -SEGV $$\n"
    )
    program.chmod(0o755)
    world.home.env["RBEE_ENGINE_PATH"] = str(program)


@when(parsers.parse("{count:d} models that are to stay loaded are declared, and rbee is up"))
def many_declared(world, count):
    assert world.keeper("down").code == 0
    declared = [
        f'[models.model{number}]\nsource = "tiny"\nkeep_alive = "always"\n'
        for number in range(count)
    ]
    (world.home.path / "rbee.toml").write_text("\n".join(declared))
    assert world.keeper("up", "--detach").code == 0


@then(parsers.parse("it was started {count:d} times, and the next starts are {apart_s:d} s apart"))
def spread(world, count, apart_s):
    def waiting():
        found = [one for one in world.home.workers() if one["retry_in_s"]]
        alive = world.home.workers("STARTING", "LOADING", "READY")
        return not alive and len(found) > 1 and sorted(one["retry_in_s"] for one in found)

    pauses_s = eventually(waiting, within_s=40)
    started = len(world.seen["starts"].read_text().split())
    print(f"{started} starts; the next ones in {pauses_s} s")
    assert started == count, started
    for sooner, later in itertools.pairwise(pauses_s):
        assert later - sooner > apart_s - 2, pauses_s
