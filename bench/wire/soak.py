"""`python -m bench.wire.soak [REQUESTS]`: nothing is lost, and nothing grows.

Many requests, of which some are left by their client at a random byte; a thousand open streams;
clients that do not read; five thousand connections that say nothing.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import time
import urllib.request

from bench.wire.contenders import Contender, rbee
from bench.wire.programs import compiled
from bench.wire.rounds import Load, asked

_CLIENTS = 64
_DROP_PERMILLE = 20
_STREAMS = 1000
_IDLE = 5000
_DEAF = 100
_DEAF_S = 4.0


def row(what: str, value: str, goal: str, ok: bool) -> None:
    print(f"{what:<58} {value:>26}   {goal:<24} {'ok' if ok else 'MISSED'}", flush=True)


def accepted(contender: Contender) -> int:
    """Connections that the engine of the embeddings has taken so far."""
    url = f"http://127.0.0.1:{contender.engine_port}/connects"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return int(json.load(answer)["accepted"])


def many(contender: Contender, count: int) -> None:
    """Streams in one event and random hang-ups: every answer is whole, in order, and the same."""
    load = Load("many", _CLIENTS, 4, burst=4)
    asked(contender, load, most=count // 10, seconds=600)
    before_mib, connects = contender.resident_mib(), accepted(contender)
    found = asked(contender, load, drop_permille=_DROP_PERMILLE, most=count, seconds=3600)
    left = f"{found['dropped']:.0f} left by their client"
    value = f"{found['errors']:.0f} of {found['requests']:.0f}, {left}"
    row("errors and lost bytes", value, "0", found["errors"] == 0)
    grown_mib = contender.resident_mib() - before_mib
    row("memory after that over before", f"{grown_mib:+.1f} MiB", "<= +8 MiB", grown_mib <= 8)
    dialled = accepted(contender) - connects - found["dropped"]
    share = max(0.0, dialled) / found["requests"]
    what = "connects to the engine a request, hang-ups not counted"
    row(what, f"{share:.2%}", "<= 1 %", share <= 0.01)


def streams(contender: Contender) -> None:
    """A thousand answers that run at the same time."""
    idle_mib = contender.resident_mib()
    load = Load("open", _STREAMS, 15, pace_us=200_000, burst=1)
    words = [str(compiled("load")), str(contender.port), str(_STREAMS), "1", load.path]
    words += [load.body(contender), "15", "0", contender.key, str(_STREAMS)]
    most_mib = 0.0
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            most_mib = max(most_mib, contender.resident_mib())
            time.sleep(0.1)
        assert process.stdout is not None
        found = json.loads(process.stdout.read())
    goal_mib = 60 + _STREAMS * 32 / 1024
    grown_mib = most_mib - idle_mib
    whole = found["requests"] == _STREAMS
    value = f"+{grown_mib:.1f} MiB, {found['requests']:.0f} whole"
    goal = f"<= +{goal_mib:.0f} MiB"
    row(f"{_STREAMS} open streams", value, goal, whole and grown_mib <= goal_mib)


def deaf(contender: Contender) -> None:
    """Clients that ask for a long answer and read none of it."""
    before_mib = contender.resident_mib()
    load = Load("deaf", 1, 200_000, burst=200_000)
    body = load.body(contender).encode()
    head = f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {contender.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    socks = [socket.socket() for _ in range(_DEAF)]
    for sock in socks:
        # The kernel would take megabytes for a client; what is left to the queen is of interest.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        sock.connect(("127.0.0.1", contender.port))
        sock.sendall(head.encode() + body)
    most_mib, until = 0.0, time.monotonic() + _DEAF_S
    while time.monotonic() < until:
        most_mib = max(most_mib, contender.resident_mib())
        time.sleep(0.1)
    for sock in socks:
        sock.close()
    each_kib = (most_mib - before_mib) * 1024 / _DEAF
    what = f"{_DEAF} clients that do not read 40 MB each"
    row(what, f"{each_kib:.0f} KiB each", "<= 1,024 KiB each", each_kib <= 1024)


def idle(contender: Contender) -> None:
    """Connections that say nothing, and what others feel of them."""
    most = min(_IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 256)
    load = Load("beside", 16)
    asked(contender, load)
    alone = asked(contender, load, seconds=2)
    before_mib = contender.resident_mib()
    socks = []
    try:
        for _ in range(most):
            socks.append(socket.create_connection(("127.0.0.1", contender.port)))
        asked(contender, load)
        beside = asked(contender, load, seconds=2)
    finally:
        for sock in socks:
            sock.close()
    slower = beside["p50_us"] / alone["p50_us"]
    each_kib = (contender.resident_mib() - before_mib) * 1024 / most
    value = f"{slower:.2f} x, {each_kib:.1f} KiB each"
    row(f"p50 of others beside {most} idle connections", value, "<= 1.5 x", slower <= 1.5)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 16)), hard))
    with rbee() as contender:
        asked(contender, Load("warm", 4), seconds=1)
        streams(contender)
        deaf(contender)
        idle(contender)
        many(contender, count)


if __name__ == "__main__":
    main()
