"""Given, When, Then: memory, processes and files of the machine."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time

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
    program.write_text("#!/bin/sh\nexit 0\n")
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


@given("the worker is noted")
def noted(world):
    world.seen["worker"] = world.ready_worker()["pid"]


@when(parsers.parse("I serve another model with {flags}"))
def serve_other(world, flags):
    target = world.home.file("whole.gguf").with_name("other.gguf")
    shutil.copy(world.home.model, target)
    files.marked(target, 77)
    world.keeper("serve", str(target), "--wait", *flags.split())


@when("memory runs out in the control group of the worker")
def exhausted(world):
    pid = world.seen["pid"] = world.ready_worker()["pid"]
    eater = memory.exhaust(memory.group_of(pid), pid)
    try:
        eventually(lambda: not psutil.pid_exists(pid), within_s=30)
    finally:
        eater.kill()
        eater.wait()


@when(parsers.parse("the hive may use {size_gb:d} GB of addresses"))
def few_addresses(world, size_gb):
    memory.bound_addresses(pid_of(world, "hive"), size_gb << 30)


@when(parsers.parse("the engine gets {name} while it loads"))
def stopped_in_load(world, name):
    serving = world.home.begin("serve", "tiny", "--no-wait")

    def engine():
        for process in world.home.processes():
            if "--host-engine" in process.cmdline():
                return process
        return None

    found = eventually(engine, within_s=20)
    found.send_signal(SIGNALS[name])
    world.seen["group"] = os.getpgid(found.pid)
    serving.communicate(timeout=20)


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
    """A tenth of it in `make test`, all of it in `make soak`."""
    return times if os.environ.get("RBEE_SOAK") else max(1, times // 10)


def footprint(world):
    """What a hive holds: descriptors, processes, listening ports, files, memory in MiB."""
    hive = psutil.Process(pid_of(world, "hive"))
    family = [hive, *hive.children(recursive=True)]
    ports = [one for one in hive.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    run = world.home.path / "run"
    return {
        "descriptors": hive.num_fds(),
        "processes": len(family),
        "zombies": sum(one.status() == psutil.STATUS_ZOMBIE for one in family),
        "ports": len(ports),
        "files": sum(len(names) for _, _, names in os.walk(run)),
        "groups": len([one for one in memory.groups_here() if str(one)]),
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
    """The footprint once two looks a second apart are alike."""
    last = {}

    def still():
        nonlocal last
        before, last = last, footprint(world)
        comparable = {**last, "memory_mib": 0}
        return comparable == {**before, "memory_mib": 0} and last

    until = time.monotonic() + 20
    while not (found := still()):
        assert time.monotonic() < until, last
        time.sleep(0.5)
    return found


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


# --- swapping --------------------------------------------------------------------------------


@when(parsers.parse("I ask {names} in turn, {times:d} times"))
def in_turn(world, names, times):
    answers = []
    for _ in range(times):
        answers += [world.home.chat(model=name, max_tokens=4) for name in names.split(", ")]
    world.seen["answers"] = answers


@when(parsers.parse("clients ask {names} at the same time, {times:d} times each"))
def at_once(world, names, times):
    answers = []

    def client(name):
        for _ in range(times):
            answers.append(world.home.chat(model=name, max_tokens=8))

    threads = [threading.Thread(target=client, args=(name,)) for name in names.split(", ")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    world.seen["answers"] = answers


@then("every answer was 200")
def all_served(world):
    codes = [one.status_code for one in world.seen["answers"]]
    assert codes and set(codes) == {200}, [one.text for one in world.seen["answers"]][-3:]


@then(parsers.parse("at most {count:d} models are loaded"))
def few_loaded(world, count):
    loaded = {one["model"] for one in world.home.workers("READY", "BUSY", "LOADING")}
    assert len(loaded) <= count, world.home.workers()


@then(parsers.parse("fewer than {count:d} loads were needed"))
def few_loads(world, count):
    newest = max(int(one["id"][1:]) for one in world.home.workers())
    print(f"{newest} loads for {len(world.seen['answers'])} answers")
    assert newest < count, newest


@given(parsers.parse("a stream of {name} is running"))
def stream_of(world, name):
    stream = world.home.stream(model=name, max_tokens=300)
    world.streams.append(stream)
    eventually(lambda: stream.tokens > 2, within_s=30)


@when(parsers.parse("I ask for {name} beside it"))
def beside(world, name):
    asked = world.home.stream(model=name, max_tokens=4)
    world.streams.append(asked)


@then(parsers.parse("rbee ps says that {name} waits for {other}"))
def says_waits(world, name, other):
    def waits():
        found = [one for one in world.home.workers() if one["model"] == name]
        return found and found[0]["waits_for"] == [other]

    eventually(waits, within_s=10)


# --- configuration and replacement --------------------------------------------------------------


@when("the configuration becomes")
def new_configuration(world, docstring):
    world.seen["pids"] = {one["model"]: one["pid"] for one in world.home.workers("READY")}
    fresh = world.home.path / "rbee.toml.new"
    fresh.write_text(docstring)
    os.replace(fresh, world.home.path / "rbee.toml")


@then(parsers.parse("{name} runs with {tokens:d} tokens of context within {limit_s:d} s"))
def runs_with(world, name, tokens, limit_s):
    def found():
        return [
            one
            for one in world.home.workers("READY")
            if one["model"] == name and one["context_tokens"] == tokens
        ]

    eventually(found, within_s=limit_s)


@then(parsers.parse("{name} has kept its process"))
def kept_process(world, name):
    (now,) = [one["pid"] for one in world.home.workers("READY", "BUSY") if one["model"] == name]
    assert now == world.seen["pids"][name]


@then(parsers.parse("a worker of {name} is ready within {limit_s:d} s"))
def ready_within(world, name, limit_s):
    eventually(
        lambda: [one for one in world.home.workers("READY") if one["model"] == name],
        within_s=limit_s,
    )


@when("I drain the worker")
def drained(world):
    worker = world.ready_worker()
    world.seen["pid"] = worker["pid"]
    world.keeper("workers", "drain", worker["id"])


@when("the other rbee is used from now on")
def other_from_now(world):
    world.home.env["PYTHONPATH"] = world.seen["elsewhere"]


@when(parsers.parse("{count:d} commands serve the model tiny at once"))
def serve_at_once(world, count):
    began = [world.home.begin("serve", "tiny", "--wait") for _ in range(count)]
    world.seen["codes"] = [(one.communicate(timeout=60), one.returncode)[1] for one in began]


@then("all of them exit with 0")
def all_zero(world):
    assert set(world.seen["codes"]) == {0}, world.seen["codes"]


@then(parsers.parse("there is {count:d} worker"))
def count_workers(world, count):
    eventually(lambda: len(world.home.workers()) == count, within_s=10)


@when("I begin to serve the model tiny, and stop it")
def begin_and_stop(world):
    world.home.begin("serve", "tiny", "--no-wait").communicate(timeout=20)
    world.keeper("stop", "tiny")


@when("I stop the model tiny and serve it again while it drains")
def stop_and_serve(world):
    stopping = world.home.begin("stop", "tiny")
    eventually(lambda: world.home.workers("DRAINING"), within_s=10)
    world.keeper("serve", "tiny", "--wait")
    stopping.communicate(timeout=60)
