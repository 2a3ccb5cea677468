"""Given, When, Then: memory, processes and files of the machine."""

from __future__ import annotations

import os
import shutil
import signal

import httpx
import psutil
import pytest
from pytest_bdd import given, parsers, then, when

from eventually import eventually
from faults import files, memory
from steps.acting import SIGNALS, pid_of

HELPER = """
import subprocess, sys
if "--host-engine" in sys.orig_argv:
    subprocess.Popen(["sleep", "4711"], start_new_session=True)
"""


@given("control groups can bound memory here")
def bounded(world):
    found = memory.group_of(world.ready_worker()["pid"])
    if found is None:
        pytest.skip("privilege: no control group with a memory limit can be made here")


@given(parsers.parse("the models {names} are stored, which differ"))
def differing_models(world, names):
    for number, name in enumerate(names.split(", "), 1):
        target = world.home.file("whole.gguf").with_name(f"{name}.gguf")
        shutil.copy(world.home.model, target)
        files.marked(target, number)
        outcome = world.keeper("models", "pull", str(target))
        assert outcome.code == 0, str(outcome)
    stored = world.home.ask("GET", "/rbee/models").json()["models"]
    assert len({one["digest"] for one in stored}) == len(stored)


@given("engines start a helper that leaves their process group")
def helper(world, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HELPER)
    world.home.env["PYTHONPATH"] = str(tmp_path)


@given("an engine that ends at once, with exit code 0")
def quitter(world, tmp_path):
    program = tmp_path / "llama-server"
    program.write_text('#!/bin/sh\ncase "$*" in *--version*) echo "version: 1 (0)";; esac\n')
    program.chmod(0o755)
    world.home.env["RBEE_ENGINE_PATH"] = str(program)


@given(parsers.parse("a stand-in for an engine on a GPU, which says: {line}"))
def gpu_double(world, tmp_path, line):
    program = tmp_path / "llama-server"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--version*|*--list-devices*) echo "version: 1 (0)"; exit 0;; esac\n'
        f"echo '{line}' >&2\nkill -ABRT $$\n"
    )
    program.chmod(0o755)
    world.home.env["RBEE_ENGINE_PATH"] = str(program)


@given("another program holds the first of two ports for workers")
def first_port_taken(world, taken):
    world.home.env["RBEE_WORKER_PORTS"] = f"{taken}-{taken + 1}"
    world.seen["port"] = taken


@then("the worker listens on the second port")
def second_port(world):
    assert world.ready_worker()["port"] == world.seen["port"] + 1


@given("the worker is noted")
def noted(world):
    world.seen["worker"] = world.ready_worker()["pid"]


@when(parsers.parse("I serve another model with {flags}"))
def serve_other(world, flags):
    target = world.home.file("whole.gguf").with_name("other.gguf")
    shutil.copy(world.home.model, target)
    files.marked(target, 77)
    world.keeper("serve", str(target), "--wait", *flags.split())


@when("memory runs out in the control group of the worker that answers")
def exhausted(world):
    (busy,), (other,) = world.home.workers("BUSY"), world.home.workers("READY")
    pid = world.seen["pid"] = busy["pid"]
    world.seen["worker"] = other["pid"]
    eater = memory.exhaust(memory.group_of(pid), pid)
    try:
        eventually(lambda: not psutil.pid_exists(pid), within_s=30)
    finally:
        eater.kill()
        eater.wait()


@when(parsers.parse("the hive may use {size_gb:d} GB of addresses"))
def few_addresses(world, size_gb):
    memory.bound_addresses(pid_of(world, "hive"), size_gb << 30)


@when(parsers.parse("the hive may open {count:d} files more"))
def few_files(world, count):
    pid = pid_of(world, "hive")
    memory.bound_files(pid, psutil.Process(pid).num_fds() + count)


@when(parsers.parse("the engine gets {name} while it loads"))
def stopped_in_load(world, name):
    signal_begun(world, SIGNALS[name], "--host-engine")


@when(parsers.parse("the worker gets {name} as it starts"))
def stopped_in_start(world, name):
    signal_begun(world, SIGNALS[name], "rbee.worker")


def signal_begun(world, number, word):
    """Serve a model, and signal the first process of it that has this word on its command line."""
    serving = world.home.begin("serve", "tiny", "--no-wait")

    def begun():
        for process in world.home.processes():
            if word in process.cmdline():
                return process
        return None

    found = eventually(begun, within_s=20)
    found.send_signal(number)
    world.seen["group"] = os.getpgid(found.pid)
    serving.communicate(timeout=20)


@when(parsers.parse("the queen gets {name} twice"))
def signalled_twice(world, name):
    pid = pid_of(world, "queen")
    os.kill(pid, SIGNALS[name])
    # The first one is seen when nobody new is let in.
    eventually(lambda: not listening(world), within_s=5)
    os.kill(pid, SIGNALS[name])


def listening(world):
    try:
        world.home.ps()
    except httpx.HTTPError:
        return False
    return True


@then("another worker took the answer up")
def taken_up(world):
    assert '"splices":[{' in world.streams[-1].text, world.streams[-1].lines[-4:]


@then("nothing is left of its process group")
def group_gone(world):
    def gone():
        members = []
        for process in psutil.process_iter():
            try:
                if os.getpgid(process.pid) == world.seen["group"]:
                    members.append(process)
            except ProcessLookupError:
                continue
        assert not members, members
        return True

    eventually(gone, within_s=20)


@then("the worker is the same")
def same_worker(world):
    pids = [one["pid"] for one in world.home.workers("READY", "BUSY")]
    assert world.seen["worker"] in pids, (world.seen, world.home.workers())


@then("the helper is gone")
def helper_gone(world):
    def gone():
        found = helpers(world)
        assert len(found) <= 1, found
        return True

    eventually(gone, within_s=10)


@then("the helpers are gone")
def helpers_gone(world):
    eventually(lambda: not helpers(world), within_s=10)


def helpers(world):
    """Helpers of this home that live."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("RBEE_HOME") == str(world.home.path)
            if mine and "4711" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


# --- cycles and the audit --------------------------------------------------------------------


def in_full(times):
    """A tenth of it in `make test`, all of it in `make repeat`."""
    return times if os.environ.get("RBEE_REPEAT") else max(1, times // 10)


def footprint(world):
    """What a hive holds: descriptors, processes, listening ports, files, memory in MiB."""
    hive = psutil.Process(pid_of(world, "hive"))
    family = [hive, *hive.children(recursive=True)]
    lines = [line for one in family for line in one.net_connections("tcp")]
    ports = [one for one in lines if one.status == psutil.CONN_LISTEN]
    run = world.home.path / "run"
    return {
        "descriptors": hive.num_fds(),
        "processes": len(family),
        "zombies": sum(one.status() == psutil.STATUS_ZOMBIE for one in family),
        "ports": len(ports),
        "files": sum(len(names) for _, _, names in os.walk(run)),
        "groups": len(memory.groups_of(world.home.path)),
        "threads": hive.num_threads(),
        "memory_mib": hive.memory_info().rss >> 20,
    }


@when(parsers.parse("the worker is killed and comes back {times:d} times"))
def killed_often(world, times):
    def cycle():
        pid = world.ready_worker()["pid"]
        os.kill(pid, signal.SIGKILL)
        eventually(
            lambda: [one for one in world.home.workers("READY") if one["pid"] != pid], within_s=30
        )

    for _ in range(2):
        cycle()
    world.seen["before"] = settled(world)
    for _ in range(in_full(times)):
        cycle()
    world.seen["after"] = settled(world)


def settled(world):
    """The footprint once two looks in a row are alike."""
    last = {}

    def still():
        nonlocal last
        before, last = last, footprint(world)
        return {**last, "memory_mib": 0} == {**before, "memory_mib": 0} and last

    return eventually(still, within_s=20)


@then("descriptors, processes, ports, files and memory are as they were")
def as_before(world):
    before, after = world.seen["before"], world.seen["after"]
    print(f"before {before}\nafter  {after}")
    grown_mib = after["memory_mib"] - before["memory_mib"]
    assert {**after, "memory_mib": 0} == {**before, "memory_mib": 0}, (before, after)
    assert grown_mib <= 8, (before, after)


@when(parsers.parse("the hive gets SIGKILL {times:d} times while answers run"))
def hive_killed_often(world, times):
    world.seen["worker"] = world.ready_worker()["pid"]
    for _ in range(in_full(times) + 1):
        stream = world.home.stream(max_tokens=120)
        world.streams.append(stream)
        eventually(lambda stream=stream: stream.tokens > 2, within_s=20)
        before = pid_of(world, "hive")
        os.kill(before, signal.SIGKILL)

        def back(before=before):
            hive = world.home.ps()["hives"][0]
            return hive["pid"] != before and hive["state"] == "connected"

        eventually(back, within_s=10)


@then("every stream ended with its finish")
def all_finished(world):
    for stream in world.streams:
        assert stream.ended.wait(60), "a stream hangs"
        assert '"finish_reason":"' in stream.text, stream.lines[-4:]


@when("queen and hive get SIGKILL")
def heads_off(world):
    for who in ("queen", "hive"):
        world.seen[who] = pid_of(world, who)
    for who in ("queen", "hive"):
        os.kill(world.seen[who], signal.SIGKILL)


@then(parsers.parse("no process of rbee is left within {limit_s:d} s"))
def all_gone(world, limit_s):
    eventually(lambda: not world.home.processes(), within_s=limit_s)
