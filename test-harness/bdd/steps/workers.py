"""Then: what became of processes."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from pytest_bdd import parsers, then, when

import plain_http
from eventually import eventually
from faults import threads
from faults.sockets import cut_lines


@then(parsers.parse("another worker is ready within {limit_s:d} s"))
def another_worker(world, limit_s):
    def other():
        return [one for one in world.home.workers("READY") if one["pid"] != world.seen["pid"]]

    assert eventually(other, within_s=limit_s)


@then(parsers.parse("no worker is left within {limit_s:d} s"))
def unloaded(world, limit_s):
    eventually(lambda: not world.home.workers(), within_s=limit_s)


@when("the hive gets SIGKILL, and the next one SIGSTOP as it begins")
def next_hangs(world):
    world.seen["workers"] = [one["pid"] for one in world.home.workers()]
    before = world.home.ps()["hives"][0]["pid"]
    os.kill(before, signal.SIGKILL)

    def begun():
        hives = [one for one in world.home.processes() if "rbee.hive" in one.cmdline()]
        return next((one for one in hives if one.pid != before), None)

    following = eventually(begun, within_s=5)
    following.send_signal(signal.SIGSTOP)
    world.seen["pid"] = following.pid
    assert world.home.ps()["hives"][0]["state"] == "lost", "it had time to say something"


@then(parsers.parse("the hive is back within {limit_s:g} s with the same workers"))
def hive_back(world, limit_s):
    def back():
        hive = world.home.ps()["hives"][0]
        return hive["pid"] != world.seen["pid"] and hive["state"] == "connected"

    eventually(back, within_s=limit_s)
    assert [one["pid"] for one in world.home.workers()] == world.seen["workers"]


@when("the line to the hive is cut")
def line_cut(world):
    ps = world.home.ps()
    world.seen["workers"] = [one["pid"] for one in ps["workers"]]
    world.seen["hives"] = lines_of(world)
    queen = psutil.Process(ps["queen"]["pid"])
    lines = [one for one in queen.net_connections("unix") if one.laddr.endswith("control.sock")]
    try:
        assert cut_lines(queen.pid, [one.fd for one in lines]) == 1
    except PermissionError:
        pytest.skip("privilege: descriptors of another process (pidfd_getfd)")
    except OSError as error:
        pytest.skip(f"kernel: pidfd_getfd ({error})")


@when("the socket of that line is removed, and the hive gets SIGKILL")
def line_unlinked(world):
    world.seen["hives"] = lines_of(world)
    (world.home.path / "run" / "control.sock").unlink()
    os.kill(world.home.ps()["hives"][0]["pid"], signal.SIGKILL)


def lines_of(world):
    """The inodes of the sockets by which hives are connected: a new line is another one."""
    queen = psutil.Process(world.home.ps()["queen"]["pid"])
    found = set()
    for one in queen.net_connections("unix"):
        if one.laddr.endswith("control.sock"):
            found.add(os.readlink(f"/proc/{queen.pid}/fd/{one.fd}"))
    return found


@then(
    parsers.parse(
        "the model is served meanwhile, and the line is back within {limit_s:g} s "
        "with the same workers"
    )
)
def line_back(world, limit_s):
    assert world.home.chat(max_tokens=2).status_code == 200

    def back():
        new = lines_of(world) - world.seen["hives"]
        return new and world.home.ps()["hives"][0]["state"] == "connected"

    eventually(back, within_s=limit_s)
    assert [one["pid"] for one in world.home.workers()] == world.seen["workers"]


@then(parsers.parse("the event log names {code}"))
def event(world, code):
    eventually(lambda: code in world.home.keeper("events", "--json").out, within_s=5)


@then(parsers.parse("{count:d} workers are ready"))
def count_ready(world, count):
    eventually(lambda: len(world.home.workers("READY")) == count, within_s=30)


@when("I shut down the worker that is idle")
def shut_down_idle(world):
    (busy,), (idle,) = world.home.workers("BUSY"), world.home.workers("READY")
    world.seen["worker"], world.seen["pid"] = busy["pid"], idle["pid"]
    world.keeper("workers", "shutdown", idle["id"])


@when("the thread of the engine that computes is stopped")
def thread_stopped(world, request):
    """Its other threads go on: they serve, and say each second that they live."""
    (worker,) = world.home.workers("BUSY")
    pid = world.seen["pid"] = worker["pid"]
    before = threads.used_s(pid)

    def computes():
        used = threads.used_s(pid)
        busiest = max(used, key=lambda one: used[one] - before.get(one, 0.0))
        return used[busiest] - before.get(busiest, 0.0) > 0.2 and busiest

    thread = eventually(computes, within_s=10)
    try:
        stopper = threads.stop_thread(thread)
    except PermissionError as error:
        pytest.skip(f"privilege: threads of another process cannot be stopped here ({error})")
    request.addfinalizer(lambda: ended(stopper))


def ended(process):
    process.kill()
    process.communicate()


@then("meanwhile it says that it is well")
def says_well(world):
    (worker,) = [one for one in world.home.workers() if one["pid"] == world.seen["pid"]]
    health = plain_http.get(f"http://127.0.0.1:{worker['port']}/health", timeout=5)
    assert health.status_code == 200, health.text
