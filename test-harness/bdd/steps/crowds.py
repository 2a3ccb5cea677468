"""Many clients at once, and one rbee on few cores."""

from __future__ import annotations

import os
import socket
import subprocess

import psutil
from pytest_bdd import given, parsers, then, when

import plain_http
from eventually import eventually
from steps.acting import pid_of
from world import RBEE, chat_body

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
    lines = psutil.Process(pid_of(world, "queen")).net_connections("tcp")
    assert sum(one.status == psutil.CONN_ESTABLISHED for one in lines) >= len(said)


@when("they all hang up")
def all_gone(world):
    for client in world.seen["clients"]:
        client.close()


@then("rbee holds no descriptor more than before")
def nothing_held(world):
    queen = psutil.Process(pid_of(world, "queen"))
    eventually(lambda: queen.num_fds() <= world.seen["held"], within_s=10)


# --- many requests, one after the other -----------------------------------------------------

KINDS = (
    ("GET", "/v1/models", None),
    ("POST", "/tokenize", {"model": "tiny", "content": "hello there"}),
    ("POST", "/v1/chat/completions", {"model": "absent", "messages": []}),
    ("POST", "/v1/chat/completions", {"messages": "none"}),
    ("GET", "/nowhere", None),
    ("GET", "/metrics", None),
)
CHAT_EVERY = 50


def footprint(world):
    """Of queen and hive: descriptors, and memory in MiB."""
    both = [psutil.Process(pid_of(world, who)) for who in ("queen", "hive")]
    return [(one.num_fds(), one.memory_info().rss / (1 << 20)) for one in both]


@when(parsers.parse("{first:d} requests of every kind have come, and {more:d} more"))
def many_requests(world, first, more):
    with plain_http.client(base_url=world.home.url, timeout=30) as client:

        def ask(count):
            for number in range(count):
                method, path, body = KINDS[number % len(KINDS)]
                client.request(method, path, json=body)
                if number % CHAT_EVERY == 0:
                    answer = client.post("/v1/chat/completions", json=chat_body(max_tokens=1))
                    assert answer.status_code == 200, answer.text

        ask(first)
        world.seen["before"] = footprint(world)
        ask(more)
        world.seen["after"] = footprint(world)


@then("memory and descriptors of rbee are as they were after the first of them")
def nothing_added(world):
    before, after = world.seen["before"], world.seen["after"]
    for (fds, mib), (fds_then, mib_then) in zip(before, after, strict=True):
        assert fds_then <= fds + 2, (before, after)
        assert mib_then - mib < 4, (before, after)


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
