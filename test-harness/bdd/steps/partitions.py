"""rbee on one side of a network, the command line on the other, and what happens in between."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then, when

from eventually import eventually
from faults.network import RBEE_ADDRESS, Missing, network
from world import RBEE, Outcome

DEEDS = {
    "drops everything": "drop_everything",
    "resets everything": "reset_everything",
    "loses what rbee sends": "lose_answers",
}


@pytest.fixture
def cable():
    """The two namespaces; gone at the end, whatever happens."""
    try:
        with network() as found:
            yield found
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def far(world, cable):
    """A home on the other side of the cable, with the address and the key of rbee."""
    folder = tempfile.mkdtemp(prefix="rbee-far-")
    kept = {name: value for name, value in world.home.env.items() if not name.startswith("RBEE_")}
    kept |= {"RBEE_HOME": folder, "RBEE_DIAL_FIRST_S": "0.2", "RBEE_CONNECT_S": "0.5"}
    kept["RBEE_DIAL_OPEN_S"] = "3"
    yield kept
    shutil.rmtree(folder, ignore_errors=True)


@given("rbee serves the model tiny on the other side of a network")
def serves_far(world, cable, far):
    home = world.home
    made = home.keeper("keys", "create", "--role", "admin", "--json")
    home.env["RBEE_HOST"] = RBEE_ADDRESS
    up = [*cable.there(cable.rbee_side), RBEE, "up", "--detach"]
    subprocess.run(up, env=home.env, check=True, capture_output=True, timeout=60)
    outcome = home.keeper("serve", str(home.file()), "--wait")
    assert outcome.code == 0, str(outcome)
    far["RBEE_URL"] = home.url
    far["RBEE_KEY"] = json.loads(made.out)["key"]


def begin_far(cable, far, *words):
    return subprocess.Popen(
        [*cable.there(cable.client_side), RBEE, *words],
        env=far,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(world, process, words, within_s=60):
    out, err = process.communicate(timeout=within_s)
    world.outcome = Outcome(words, process.returncode, out, err, 0.0)
    world.home.outcomes.append(world.outcome)


@when(parsers.parse("the other side runs rbee {words}"))
def runs_far(world, cable, far, words):
    ended(world, begin_far(cable, far, *words.split()), words)


@when(parsers.re(f"the network (?P<deed>{'|'.join(DEEDS)})$"))
def fault(cable, deed):
    getattr(cable, DEEDS[deed])()


@when(parsers.parse("the network loses {percent:d} of a hundred packets"))
def loses(cable, percent):
    cable.lose_share(percent)


@when("the network is whole again")
def whole(cable):
    cable.mend()


@when(parsers.parse("the network {deed} in the middle of an answer to the other side"))
def fault_in_answer(world, cable, far, deed):
    process = answering(cable, far)
    fault(cable, deed)
    ended(world, process, "infer")


@when(parsers.parse("the network {deed} in an answer to the other side, and comes back"))
def fault_and_mend_in_answer(world, cable, far, deed):
    process = answering(cable, far)
    fault(cable, deed)
    eventually(lambda: known(far) >= 1, within_s=30)
    cable.mend()
    ended(world, process, "infer")


@when(parsers.parse("the link is down for {seconds:g} s in the middle of an answer"))
def flap_in_answer(world, cable, far, seconds):
    process = answering(cable, far)
    cable.flap(seconds)
    ended(world, process, "infer")


@when("the network is cut and comes back while the other side dials")
def comes_back(world, cable, far):
    cable.drop_everything()
    process = begin_far(cable, far, "infer", "-m", "tiny", "-p", "Hi", "--max-tokens", "4")
    eventually(lambda: known(far) >= 2, within_s=20)
    cable.mend()
    ended(world, process, "infer")


def known(far):
    """How many dials in a row have failed, as the file of the other side's home says."""
    path = Path(far["RBEE_HOME"]) / "state" / "dial.json"
    lines = json.loads(path.read_text()) if path.exists() else {}
    return max((int(one[0]) for one in lines.values()), default=0)


def answering(cable, far):
    """A long answer on its way, of which some has arrived."""
    process = begin_far(
        cable,
        far,
        *["infer", "-m", "tiny", "-p", "Count", "--max-tokens", "400", "--seed", "1", "--json"],
    )
    for _ in range(3):
        assert process.stdout.readline()
    return process


@then("the other side gets through again by itself")
def gets_through(world, cable, far):
    def answered():
        runs_far(world, cable, far, "ps --json")
        return world.outcome.code == 0

    eventually(answered, within_s=20)


@then("the answer came whole")
def came_whole(world):
    assert world.outcome.code == 0, str(world.outcome)
    last = json.loads(world.outcome.out.splitlines()[-1])
    assert last["done"]["finish_reason"] in ("stop", "length"), str(world.outcome)


@then("what had come of the answer is kept on the other side")
def kept(far):
    found = list((Path(far["RBEE_HOME"]) / "partials").iterdir())
    assert found and found[0].read_text().strip()


@then("rbee goes on serving at home")
def serves_at_home(world):
    outcome = world.home.keeper("infer", "-m", "tiny", "-p", "Hi", "--max-tokens", "4")
    assert outcome.code == 0, str(outcome)
