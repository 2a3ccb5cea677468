"""What the journal of jobs costs those who have none: `python -m bench.journal`.

Four plain streams are timed token by token (the engine double stamps each with the time at which it
was sent) while sixteen other answers run beside them: once as plain streams, once as journalled
jobs. All are read by a process of their own, so that reading costs the same.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.stack import Door, Stack, body, serving
from tests.model_file import model_path

STREAMS, JOBS = 4, 16
EVERY_S = 0.01
TOKENS = 400
_STAMP = re.compile(rb'"content":" ([0-9.]+)"')


def request(tokens: int) -> dict[str, object]:
    return {**json.loads(body(tokens)), "token_every_s": EVERY_S, "stamped": True}


def exchange(door: Door, method: str, path: str, said: object) -> socket.socket:
    """A request on a connection of its own."""
    data = json.dumps(said).encode() if said is not None else b""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
    sock = socket.create_connection(("127.0.0.1", door.port))
    sock.sendall(head + data)
    return sock


def blocks(sock: socket.socket) -> Iterator[bytes]:
    with sock:
        while block := sock.recv(65536):
            yield block


def plain(door: Door, tokens: int) -> socket.socket:
    return exchange(door, "POST", "/v1/chat/completions", request(tokens))


def job(door: Door, tokens: int) -> socket.socket:
    """The same as a job, followed from its start."""
    made = b"".join(blocks(exchange(door, "POST", "/v1/jobs", {"request": request(tokens)})))
    id_ = json.loads(made.partition(b"\r\n\r\n")[2])["job_id"]
    return exchange(door, "GET", f"/v1/jobs/{id_}/stream", None)


def crowd(port: int, kind: str, tokens: int) -> None:
    """Run and read sixteen answers; prints how many tokens came and in how many seconds."""
    door = Door(port)
    ask = job if kind == "jobs" else plain
    counts: list[int] = []

    def one() -> None:
        counts.append(sum(part.count(b'"content":" ') for part in blocks(ask(door, tokens))))

    threads = [threading.Thread(target=one) for _ in range(JOBS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"tokens": sum(counts), "seconds": time.perf_counter() - began}), flush=True)


def delays_ms(door: Door, tokens: int) -> list[float]:
    """How long each token of the plain streams was under way."""
    found: list[float] = []

    def one() -> None:
        rest = b""
        for part in blocks(plain(door, tokens)):
            now = time.perf_counter()
            rest += part
            stamps = list(_STAMP.finditer(rest))
            found.extend((now - float(stamp.group(1))) * 1000 for stamp in stamps)
            rest = rest[stamps[-1].end() :] if stamps else rest

    threads = [threading.Thread(target=one) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def beside(stack: Stack, kind: str) -> tuple[float, float, float]:
    """p50 and p99 of the delays in ms of plain streams beside such a crowd, and its tokens/s."""
    with crowded(stack, kind) as process:
        found = delays_ms(stack.queen, int(TOKENS * 0.8))
        rate = rate_of(process)
    cuts = statistics.quantiles(found, n=100)
    return cuts[49], cuts[98], rate


def crowded(stack: Stack, kind: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "bench.journal", str(stack.queen.port), kind, str(TOKENS)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])


def rate_of(process: subprocess.Popen[bytes]) -> float:
    """Tokens a second of a crowd that has ended."""
    said = json.loads(process.communicate(timeout=120)[0])
    if said["tokens"] != JOBS * TOKENS:
        raise SystemExit(f"an answer of the crowd broke off: {said}")
    return float(said["tokens"] / said["seconds"])


def cpu_us(stack: Stack, kind: str) -> float:
    """What the queen's process computes for each token of a crowd."""
    pid = json.loads((stack.home / "run" / "queen.json").read_text())["pid"]
    before_s = cpu_s(pid)
    with crowded(stack, kind) as process:
        rate_of(process)
    return (cpu_s(pid) - before_s) / (JOBS * TOKENS) * 1e6


def cpu_s(pid: int) -> float:
    """User and system time of all threads (proc(5), stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def journal(stack: Stack, rounds: int) -> list[tuple[str, str, str, bool]]:
    """Rows of the table: delay of others, and throughput, jobs over plain streams."""
    beside(stack, "plain")
    found: dict[str, list[tuple[float, float, float]]] = {"plain": [], "jobs": []}
    cpu: dict[str, list[float]] = {"plain": [], "jobs": []}
    for _ in range(rounds):
        for kind in random.sample(["plain", "jobs"], 2):
            found[kind].append(beside(stack, kind))
            cpu[kind].append(cpu_us(stack, kind))
    (p50_plain, p99_plain, rate_plain), (p50_jobs, p99_jobs, rate_jobs) = (
        [statistics.median(column) for column in zip(*found[kind])] for kind in ("plain", "jobs")
    )
    p99, rate = p99_jobs / p99_plain, rate_jobs / rate_plain
    us_jobs, us_plain = statistics.median(cpu["jobs"]), statistics.median(cpu["plain"])
    return [
        (
            f"p99 chunk delay of {STREAMS} streams, {JOBS} jobs over {JOBS} streams",
            f"{p99_jobs:.2f} / {p99_plain:.2f} ms = {p99:.2f}",
            "<= 1.5",
            p99 <= 1.5,
        ),
        (
            "p50 of the same",
            f"{p50_jobs:.2f} / {p50_plain:.2f} ms = {p50_jobs / p50_plain:.2f}",
            "<= 1.5",
            p50_jobs / p50_plain <= 1.5,
        ),
        (
            f"tokens/s of {JOBS} jobs over {JOBS} streams",
            f"{rate_jobs:.0f} / {rate_plain:.0f} = {rate:.3f}",
            ">= 0.95",
            rate >= 0.95,
        ),
        (
            "CPU of the queen per token, jobs over streams",
            f"{us_jobs:.0f} / {us_plain:.0f} us = {us_jobs / us_plain:.2f}",
            "<= 1.25",
            us_jobs / us_plain <= 1.25,
        ),
    ]


def main() -> None:
    if len(sys.argv) == 4:
        crowd(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
        return
    double = Path(__file__).with_name("engine_double.py")
    parallel = str(STREAMS + JOBS)
    with serving(
        model_path(), RBEE_ENGINE_PATH=str(double), RBEE_DEFAULTS_PARALLEL=parallel
    ) as stack:
        for what, value, goal, ok in journal(stack, 5):
            print(f"{what:<58} {value:>26}   {goal:<12} {'ok' if ok else 'MISSED'}", flush=True)


if __name__ == "__main__":
    main()
