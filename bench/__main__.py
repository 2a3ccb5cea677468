"""`make bench`: a table of medians and ratios, rbee against the bare engine, alternated."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.chats import Compared, compare
from bench.fetching import Fetch
from bench.journal import JOBS, STREAMS, journal
from bench.splices import kills, remembering_us
from bench.stack import RBEE, Door, Stack, ask, ask_many, body, serving

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.model_file import model_path
from tests.queen.test_decisions_scale import measured

DOUBLE = Path(__file__).with_name("engine_double.py")


def alternated(rounds: int, **contenders: Callable[[], float]) -> dict[str, list[float]]:
    """Each contender once a round, in shuffled order."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name in random.sample(list(contenders), len(contenders)):
            found[name].append(contenders[name]())
    return found


def row(what: str, value: str, goal: str, ok: bool) -> None:
    print(f"{what:<58} {value:>26}   {goal:<12} {'ok' if ok else 'MISSED'}", flush=True)


def throughput(
    name: str, queen: Door, worker: Door, streams: int, goal: float, rounds: int
) -> None:
    """Tokens a second through rbee over straight from the worker."""
    data = body(64 if "real" in name else 400)
    found = alternated(
        rounds,
        rbee=lambda: ask_many(queen, data, streams),
        direct=lambda: ask_many(worker, data, streams),
    )
    rbee, direct = statistics.median(found["rbee"]), statistics.median(found["direct"])
    value = f"{rbee:.1f} / {direct:.1f} = {rbee / direct:.3f}"
    row(f"tokens/s, {name}, {streams} streams", value, f">= {goal}", rbee / direct >= goal)


def first_token(name: str, queen: Door, worker: Door, rounds: int) -> None:
    """Added time to the first token."""
    data = body(2, "Hi")
    found = alternated(
        rounds,
        rbee=lambda: ask(queen, data).first_s * 1000,
        direct=lambda: ask(worker, data).first_s * 1000,
    )
    added_ms = statistics.median(found["rbee"]) - statistics.median(found["direct"])
    row(f"added time to first token, {name}", f"{added_ms:.2f} ms", "<= 5 ms", added_ms <= 5)


def warm_infer(stack: Stack, rounds: int) -> None:
    """`rbee infer` as a command over a raw client with the same request."""
    words = [RBEE, "infer", "-m", "tiny", "-p", "Hi", "--max-tokens", "4", "--temperature", "0"]

    def command() -> float:
        began = time.perf_counter()
        subprocess.run(words, env=stack.env, check=True, capture_output=True)
        return (time.perf_counter() - began) * 1000

    def raw() -> float:
        return ask(stack.queen, body(4, "Hi")).all_s * 1000

    command()
    found = alternated(rounds, infer=command, raw=raw)
    added_ms = statistics.median(found["infer"]) - statistics.median(found["raw"])
    row("warm rbee infer over a raw client", f"{added_ms:+.0f} ms", "<= 150 ms", added_ms <= 150)


def cold_infer(model: Path, rounds: int) -> None:
    """No process of rbee, model stored: to the first token, over the engine's own load time."""
    stack = Stack(model)
    added: list[float] = []
    try:
        stack.rbee("models", "pull", str(stack.file))
        for _ in range(rounds):
            stack.rbee("down")
            words = [RBEE, "infer", "-m", "tiny", "-p", "Hi", "--max-tokens", "2"]
            began = time.perf_counter()
            with subprocess.Popen(
                words, env=stack.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdout is not None
                process.stdout.read(1)
                first_s = time.perf_counter() - began
            load_s = float(workers(stack)[0]["loaded_in_s"])
            added.append(first_s - load_s)
    finally:
        stack.end()
    median_s = statistics.median(added)
    row(
        "cold rbee infer to first token, over the load",
        f"+{median_s:.2f} s",
        "<= 1.2 s",
        median_s <= 1.2,
    )


def workers(stack: Stack) -> list[dict[str, object]]:
    import json

    return list(json.loads(stack.rbee("ps", "--json"))["workers"])


def help_time(rounds: int) -> None:
    """`rbee --help` over the bare interpreter."""

    def timed(*words: str) -> float:
        began = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True)
        return time.perf_counter() - began

    found = alternated(
        rounds,
        help=lambda: timed(RBEE, "--help"),
        bare=lambda: timed(sys.executable, "-c", "pass"),
    )
    ratio = statistics.median(found["help"]) / statistics.median(found["bare"])
    row("rbee --help over the bare interpreter", f"{ratio:.2f} x", "<= 3 x", ratio <= 3)


def decisions() -> None:
    """What the queen decides for each request, among many."""
    for name, took_us in measured(1000, 10_000).items():
        what = f"{name}, 1000 workers, 10,000 waiting"
        row(what, f"{took_us:.1f} us", "<= 20 us", took_us <= 20)


def warm_chats(model: Path, count: int) -> None:
    """Chats of three turns on two workers, with a beginning of 200 tokens and of 500."""
    with serving(model, "--replicas", "2", "--parallel", "2") as stack:
        for words in (180, 450):
            warm_chats_of(words, compare(stack, count, at_once=2, words=words))


def warm_chats_of(words: int, found: Compared) -> None:
    what = f"later turns of chats with {words} words"
    value = f"{found.found:.0%} / {found.found_at_random:.0%}"
    row(f"{what} that find them read, over random", value, ">= 90 %", found.found >= 0.9)
    for name, ratio in (("median", found.median), ("mean", found.mean)):
        ok = ratio <= 0.5
        row(f"{what}: {name} first token over random", f"{ratio:.2f} x", "<= 0.5 x", ok)


def killed(model: Path, rounds: int) -> None:
    """A worker dies at token 20, and another one replays."""
    with serving(
        model, "--replicas", "2", RBEE_RESTART_FIRST_S="0.1", RBEE_RETRIES_PER_MINUTE="1000"
    ) as stack:
        wait_s, replay_s = kills(stack, rounds)
    value = f"{wait_s:.2f} - {replay_s:.2f} = {wait_s - replay_s:.2f} s"
    row("wait at a SIGKILL over the replay's own time", value, "<= 1 s", wait_s - replay_s <= 1)
    cost_us = remembering_us()
    row("remembering a chunk for a splice", f"{cost_us:.2f} us", "<= 2 us", cost_us <= 2)


def fetched(model: Path, rounds: int) -> None:
    """A large file over loopback: its rate, and the memory that it takes."""
    stack = Stack(model, RBEE_LIMITS_DISK_RESERVE="0")
    try:
        stack.rbee("up", "--detach")
        fetch = Fetch(stack)
        curl, rbee = map(statistics.median, fetch.run(rounds))
    finally:
        stack.end()
    value = f"{rbee:.0f} / {curl:.0f} = {rbee / curl:.2f}"
    row("MiB/s of models pull over curl | sha256sum", value, ">= 0.85", rbee / curl >= 0.85)
    most_mib = fetch.most_bytes / (1 << 20)
    row("memory over idle while 2 GiB come", f"{most_mib:.0f} MiB", "<= 64 MiB", most_mib <= 64)


def main() -> None:
    model = model_path()
    help_time(15)
    fetched(model, 3)
    decisions()
    with serving(model) as stack:
        queen, worker = stack.queen, stack.worker
        ask(queen, body(4))
        throughput("real engine", queen, worker, 1, 0.97, 7)
        throughput("real engine", queen, worker, 4, 0.97, 7)
        first_token("real engine", queen, worker, 25)
        warm_infer(stack, 15)
    with serving(model, RBEE_ENGINE_PATH=str(DOUBLE)) as stack:
        queen, worker = stack.queen, stack.worker
        ask(queen, body(4))
        throughput("double", queen, worker, 4, 0.9, 7)
        first_token("double", queen, worker, 25)
    warm_chats(model, 12)
    killed(model, 5)
    beside = {"RBEE_ENGINE_PATH": str(DOUBLE), "RBEE_DEFAULTS_PARALLEL": str(STREAMS + JOBS)}
    with serving(model, **beside) as stack:
        for cells in journal(stack, 5):
            row(*cells)
    cold_infer(model, 5)


if __name__ == "__main__":
    main()
