"""Then: what commands printed, and how they ended."""

from __future__ import annotations

import json

from pytest_bdd import parsers, then

from eventually import eventually


@then(parsers.parse("it exits with {code:d}"))
def exits(world, code):
    assert world.outcome.code == code, str(world.outcome)


@then("it printed an answer on stdout and nothing else there")
def printed_answer(world):
    out = world.outcome.out.strip()
    assert out and "rbee" not in out.splitlines()[0], str(world.outcome)


@then(parsers.parse("it says {text}"))
def says(world, text):
    told = text.format(**{name: world.seen.get(name, "") for name in ("port", "pid", "job")})
    assert told in world.outcome.out + world.outcome.err, str(world.outcome)


@then("it shows no traceback")
def no_traceback(world):
    assert "Traceback" not in world.outcome.out + world.outcome.err, str(world.outcome)


@then(parsers.parse("it took less than {limit_s:g} s"))
def took(world, limit_s):
    assert world.outcome.took_s < limit_s, str(world.outcome)


@then(parsers.parse("the interrupted command exits with {code:d}"))
def interrupted(world, code):
    assert world.seen["interrupted"][0] == code, world.seen["interrupted"]


@then("nothing of rbee is left")
def nothing_left(world):
    def gone():
        left = world.home.left()
        assert not left, f"left: {left}"
        return True

    eventually(gone, within_s=10)


@then("rbee doctor finds nothing left over")
def doctor_clean(world):
    outcome = world.keeper("doctor", "--json")
    found = [json.loads(line) for line in outcome.out.splitlines()]
    (leftover,) = [one for one in found if one["about"] == "leftover"]
    assert leftover["is"] == "ok", str(outcome)


@then(parsers.parse("rbee ps --json follows its contract"))
def ps_contract(world):
    outcome = world.keeper("ps", "--json")
    shown = json.loads(outcome.out)
    assert {"pid", "url", "version"} <= set(shown["queen"])
    assert {"id", "pid", "state"} <= set(shown["hives"][0])
    worker = {"id", "pid", "port", "model", "digest", "state", "device", "degraded", "hive"}
    assert worker | {"slots", "busy", "restarts"} <= set(shown["workers"][0])
    assert {"waiting", "limit"} <= set(shown["queues"]["tiny"])


@then("the model tiny is served again without a word of mine")
def wishes_return(world):
    assert world.ready_worker()["model"] == "tiny"


@then(parsers.parse("what is left of it stands in {name}"))
def kept_aside(world, name):
    assert (world.home.path / name).read_bytes() == world.seen["left"]
