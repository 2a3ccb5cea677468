"""Given, When, Then: GPUs that fail and return. The engine is a double (`faults.gpu_engine`)."""

from __future__ import annotations

import json
import subprocess

import pytest
from pytest_bdd import given, parsers, then, when

from eventually import eventually
from faults import gpu_engine, nvml

SIZE = "(8192 MiB, 8000 MiB free)"
CARD = "A stand-in for a GPU"
MIB = 1 << 20


@given(parsers.parse("a stand-in for an engine with the GPUs {names}"))
def engine_with_gpus(world, tmp_path, names):
    world.seen["gpus"] = tmp_path / "gpus"
    world.seen["names"] = names.split(", ")
    listed = [f"{one}: {CARD} {SIZE}" for one in world.seen["names"]]
    program = gpu_engine.install(world.seen["gpus"], listed)
    world.home.env["RBEE_ENGINE_PATH"] = str(program)


@given(
    parsers.parse(
        "NVIDIA's library tells of a card with {free_mib:d} MiB free, "
        "and a program that holds the rest"
    )
)
def card(world, tmp_path, free_mib, holding):
    if nvml.compiler() is None:
        pytest.skip("program: a C compiler for the double of NVIDIA's library")
    world.seen["nvml"] = tmp_path / "nvml"
    world.seen["holder"] = holding
    world.home.env.update(nvml.install(world.seen["nvml"]))
    tell_card(world, free_mib=free_mib)


@pytest.fixture
def holding():
    """A living process for the table of the double to name."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def tell_card(world, free_mib=8000, celsius=50):
    total = 8192 * MIB
    holder = world.seen["holder"]
    held = ((holder.pid, total - free_mib * MIB),) if holder.poll() is None else ()
    one = nvml.NvidiaCard(CARD, total, free_mib * MIB, celsius, 93, held)
    nvml.write(world.seen["nvml"], one)


@when(parsers.parse("the program ends, and {free_mib:d} MiB are free"))
def holder_ends(world, free_mib):
    world.seen["holder"].kill()
    world.seen["holder"].wait()
    tell_card(world, free_mib=free_mib)


@when(parsers.parse("the card is at {celsius:d} degrees"))
def card_is_at(world, celsius):
    tell_card(world, celsius=celsius)


@when("rbee has looked at its engine")
def engine_known(world):
    eventually(lambda: world.home.ps()["devices_unusable"], within_s=30)


@then("it names the program that holds the memory")
def names_holder(world):
    told = f"sleep (pid {world.seen['holder'].pid})"
    assert told in world.outcome.err, str(world.outcome)


@then("rbee doctor names the program that holds the memory")
def doctor_names_holder(world):
    outcome = world.keeper("doctor")
    assert f"held by sleep (pid {world.seen['holder'].pid})" in outcome.out, str(outcome)


@then(parsers.parse("fewer requests may wait, for {cause}"))
def fewer_wait(world, cause):
    def fewer():
        return world.home.ps()["queues"]["tiny"]["limit"] < 100

    eventually(fewer, within_s=10)
    assert cause in world.home.keeper("events", "--json").out


@given(parsers.parse("loads on {name} say: {line}"))
def loads_fail(world, name, line):
    (world.seen["gpus"] / name).write_text(line)


@when(parsers.parse("the GPU {name} says: {line}"))
def gpu_fails(world, name, line):
    """Under the worker that serves, and under whoever is loaded there next."""
    loads_fail(world, name, line)
    (world.seen["gpus"] / f"{name}.lost").write_text(line)


@when(parsers.parse("the GPU {name} is well again"))
def gpu_is_well(world, name):
    for file in (name, f"{name}.lost"):
        (world.seen["gpus"] / file).unlink(missing_ok=True)


@when(parsers.parse("the GPU {name} is gone"))
def gpu_is_gone(world, name):
    left = [one for one in world.seen["names"] if one != name]
    gpu_engine.listed(world.seen["gpus"], [f"{one}: {CARD} {SIZE}" for one in left])


@when(parsers.parse("the GPU {name} is there again"))
def gpu_is_back(world, name):
    gpu_engine.listed(world.seen["gpus"], [f"{name}: {CARD} {SIZE}"])


@then(parsers.parse("the model runs on {device} within {limit_s:d} s, degraded because of {cause}"))
def runs_degraded(world, device, limit_s, cause):
    worker = _on(world, device, limit_s)
    assert f"device={device}" in worker["degraded"] and cause in worker["degraded"], worker
    shown = world.keeper("ps")
    assert "degraded" in shown.out and cause in shown.out, str(shown)
    metrics = world.home.ask("GET", "/metrics").text
    assert f'rbee_worker_degraded{{worker="{worker["id"]}"}} 1.0' in metrics
    answer = world.home.chat(max_tokens=2)
    assert cause in answer.headers["x-rbee-degraded"]


@then(parsers.parse("the model runs on {device} within {limit_s:d} s, as it was asked for"))
def runs_as_asked(world, device, limit_s):
    assert not _on(world, device, limit_s)["degraded"]


@then(parsers.parse("rbee doctor says that {device} rests because of {cause}"))
def doctor_tells(world, device, cause):
    outcome = world.keeper("doctor", "--json")
    found = [json.loads(line) for line in outcome.out.splitlines()]
    says = [one["says"] for one in found if one["about"] == "gpu"]
    assert any(device in one and "rests" in one and cause in one for one in says), str(outcome)


def _on(world, device, limit_s):
    def there():
        ready = world.home.workers("READY", "BUSY")
        return ready if [one["device"] for one in ready] == [device] else None

    return eventually(there, within_s=limit_s)[0]
