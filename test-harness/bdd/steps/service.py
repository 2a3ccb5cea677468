"""rbee as a service: what its unit names is started and ended as systemd would."""

from __future__ import annotations

import json
import shlex
import subprocess

import httpx
from pytest_bdd import given, then, when

from eventually import eventually


def unit_of(world):
    """What the unit says, by key."""
    outcome = world.home.keeper("service", "show", "--json")
    assert outcome.code == 0, str(outcome)
    lines = json.loads(outcome.out)["unit"].splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


@given("systemd cannot be reached")
def no_systemd(world, tmp_path):
    world.home.env["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    world.home.env["XDG_RUNTIME_DIR"] = str(tmp_path / "nowhere")
    world.home.env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={tmp_path}/nowhere"


@when("the machine starts what the unit of rbee names")
def started(world):
    said = unit_of(world)
    name, value = shlex.split(said["Environment"])[0].split("=", 1)
    assert (name, value) == ("RBEE_HOME", str(world.home.path))
    world.seen["service"] = subprocess.Popen(
        shlex.split(said["ExecStart"]),
        env=world.home.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers():
        assert world.seen["service"].poll() is None
        try:
            return world.home.ps()
        except (OSError, httpx.HTTPError):
            return None

    eventually(answers, within_s=30)


@then("what the unit names has ended, and is to be started again")
def to_be_restarted(world):
    said = unit_of(world)
    code = world.seen["service"].wait(20)
    assert code not in (0, int(said["RestartPreventExitStatus"])), code
    assert said["Restart"] == "on-failure"
    assert said["KillMode"] == "process", "systemd would end the workers too"


@then("the worker is the one from before")
def same(world):
    eventually(
        lambda: [one["pid"] for one in world.home.workers("READY")] == world.seen["workers"],
        within_s=20,
    )


@when("the machine ends it as systemd does")
def ended(world):
    world.seen["service"].terminate()


@then("it ended with 0 and nothing of rbee is left")
def ended_well(world):
    said = unit_of(world)
    assert world.seen["service"].wait(int(said["TimeoutStopSec"])) == 0
    assert not world.home.left(), world.home.left()
