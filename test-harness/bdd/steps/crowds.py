"""Many clients at once, and one rbee on few cores."""

from __future__ import annotations

import os
import socket
import subprocess

import psutil
from pytest_bdd import given, parsers, then, when

from eventually import eventually
from steps.acting import pid_of
from world import RBEE

ASK = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@when(parsers.parse("{count:d} clients connect, and each asks what models there are"))
def crowd(world, count):
    port = int(world.home.url.rsplit(":", 1)[1])
    world.seen["held"] = psutil.Process(pid_of(world, "queen")).num_fds()
    clients = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(count)]
    for client in clients:
        client.sendall(ASK)
    world.seen["clients"] = clients


@then("each of them got its answer")
def all_answered(world):
    said = [client.recv(65536) for client in world.seen["clients"]]
    assert all(one.startswith(b"HTTP/1.1 200 ") for one in said)
    # The connections are open still: all of them at the same time.
    held = psutil.Process(pid_of(world, "queen")).num_fds()
    assert held >= world.seen["held"] + len(said)


@when("they all hang up")
def all_gone(world):
    for client in world.seen["clients"]:
        client.close()


@then("rbee holds no descriptor more than before")
def nothing_held(world):
    queen = psutil.Process(pid_of(world, "queen"))
    eventually(lambda: queen.num_fds() <= world.seen["held"], within_s=10)


# --- few cores ------------------------------------------------------------------------------


@given("rbee is up on one core of this machine")
def on_one_core(world):
    core = world.seen["core"] = max(os.sched_getaffinity(0))
    del world.home.env["RBEE_THREADS"]
    command = ["taskset", "-c", str(core), RBEE, "up", "--detach"]
    subprocess.run(command, env=world.home.env, check=True, capture_output=True, timeout=60)


@then("every thread of rbee stays on that core")
def stays(world):
    processes = world.home.processes()
    names = [word for one in processes for word in one.cmdline() if word.startswith("rbee.")]
    assert {"rbee.queen", "rbee.hive", "rbee.worker"} <= set(names), names
    for process in processes:
        for thread in process.threads():
            assert os.sched_getaffinity(thread.id) == {world.seen["core"]}, process.cmdline()
