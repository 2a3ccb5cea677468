"""What a splice costs: the client's wait at a kill over the replay's own time, and, while nothing
happens, what it takes to remember what went out."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import time
from itertools import pairwise

from bench.stack import Door, Stack, body
from rbee.wire.llama_server import decode_chunk
from rbee.wire.transcript import Transcript

KILLED_AT = 20
_READY_WITHIN_S = 60.0
_CHUNKS = 50_000


def kills(stack: Stack, rounds: int) -> tuple[float, float]:
    """Medians of the client's longest wait and of the replay's own time, in seconds."""
    waits, replays = [], []
    for _ in range(rounds):
        whole = token_times(stack, killed_at=None)
        broken = token_times(stack, killed_at=KILLED_AT)
        if len(broken) != len(whole):
            raise SystemExit(f"{len(whole)} tokens became {len(broken)}")
        gaps = [after - before for before, after in pairwise(broken)]
        at = gaps.index(max(gaps)) + 1
        waits.append(max(gaps))
        replays.append(whole[at])
    return statistics.median(waits), statistics.median(replays)


def token_times(stack: Stack, *, killed_at: int | None) -> list[float]:
    """When each token of one answer came, from its request on; its worker is killed meanwhile."""
    both_ready(stack)
    door, data = stack.queen, body(40)
    times: list[float] = []
    with socket.create_connection(("127.0.0.1", door.port)) as sock:
        began = time.perf_counter()
        sock.sendall(request(door, data))
        seen = b""
        while block := sock.recv(65536):
            seen += block
            new = seen.count(b'"content":"') - len(times)
            times += [time.perf_counter() - began] * new
            if killed_at is not None and len(times) >= killed_at:
                os.kill(busy(stack), signal.SIGKILL)
                killed_at = None
    return times


def request(door: Door, data: bytes) -> bytes:
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + data


def busy(stack: Stack) -> int:
    """The process of the worker that answers."""
    return next(int(one["pid"]) for one in shown(stack) if one["busy"])


def both_ready(stack: Stack) -> None:
    until = time.monotonic() + _READY_WITHIN_S
    while sum(one["state"] == "READY" for one in shown(stack)) < 2:
        if time.monotonic() > until:
            raise SystemExit("no second worker came")
        time.sleep(0.1)


def shown(stack: Stack) -> list[dict[str, object]]:
    with socket.create_connection(("127.0.0.1", stack.queen.port)) as sock:
        host = f"127.0.0.1:{stack.queen.port}"
        sock.sendall(f"GET /rbee/ps HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        seen = b""
        while block := sock.recv(65536):
            seen += block
    return list(json.loads(seen.partition(b"\r\n\r\n")[2])["workers"])


def remembering_us() -> float:
    """Processor time to remember one chunk, over its decoding."""
    choice = {"index": 0, "finish_reason": None, "delta": {"content": " word"}}
    data = json.dumps({"choices": [choice], "id": "chatcmpl-1", "created": 1}).encode()
    chunk, transcript = decode_chunk(data), Transcript()
    began = time.process_time()
    for _ in range(_CHUNKS):
        transcript.take(chunk, data)
    return (time.process_time() - began) / _CHUNKS * 1e6
