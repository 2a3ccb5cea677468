"""What is asked of each contender, and the medians of alternated rounds."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

from bench.wire.contenders import Contender
from bench.wire.programs import compiled

EMBED = {"model": "tiny", "input": "The quick brown fox jumps over the lazy dog."}
SLOW = frozenset({"litellm"})
"""Asked for a few rows, with few clients."""


@dataclass(frozen=True)
class Load:
    """One kind of load; `events` 0: embeddings."""

    name: str
    clients: int
    events: int = 0
    pace_us: int = 0
    burst: int = 0
    seconds: float = 0.6
    slow_too: bool = False

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.events else "/v1/embeddings"

    def body(self, contender: Contender) -> str:
        said: dict[str, object] = dict(EMBED)
        if self.events:
            words = f"events={self.events} pace_us={self.pace_us} burst={self.burst or self.events}"
            messages = [{"role": "user", "content": words}]
            said = {"model": "tiny", "messages": messages, "stream": True}
            said["max_tokens"] = self.events
        if contender.name == "rbee":
            # A deadline is a feature of its own, and the others would pass it on.
            said["timeout_s"] = 600
        return json.dumps(said)


LOADS = (
    Load("JSON, 16 clients", 16, slow_too=True),
    Load("paced, 64 streams", 64, 200, pace_us=5000, burst=1, seconds=1.0, slow_too=True),
    Load("JSON, 1 client", 1),
    Load("paced, 1 stream", 1, 20, pace_us=5000, burst=1),
    Load("JSON, 512 clients", 512, seconds=1.0),
    Load("chat in 1 event, 16 clients", 16, 1),
    Load("chat in 64 events at once, 16 clients", 16, 64),
    Load("bursts of 8, 64 streams", 64, 200, pace_us=5000, burst=8),
    Load("JSON, 128 clients", 128),
)
"""Paced: one event (or burst) every 5 ms. What is promised comes first."""


@dataclass
class Row:
    """Of one contender under one load, one value a round."""

    cpu_us_per_request: list[float] = field(default_factory=list)
    cpu_us_per_chunk: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    first_us: list[float] = field(default_factory=list)
    delay_p50_us: list[float] = field(default_factory=list)
    delay_p99_us: list[float] = field(default_factory=list)
    requests_per_s: list[float] = field(default_factory=list)
    requests: int = 0
    connects: int = 0

    def median(self, name: str) -> float:
        return statistics.median(getattr(self, name) or [0.0])


def asked(
    contender: Contender, load: Load, *, drop_permille: int = 0, most: int = -1, seconds: float = 0
) -> dict[str, float]:
    """Run one load; gives what the crowd counted."""
    words = [str(compiled("load")), str(contender.port), str(load.clients)]
    words += [str(seconds or load.seconds), load.path, load.body(contender), str(load.events)]
    words += [str(drop_permille), contender.key, str(most)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=600)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(contender: Contender, load: Load, row: Row) -> None:
    before_us = contender.cpu_us()
    found = asked(contender, load)
    cpu_us = contender.cpu_us() - before_us
    if found["errors"]:
        raise SystemExit(f"{contender.name}, {load.name}: {found}")
    count = max(1, found["requests"])
    row.requests += int(found["requests"])
    row.cpu_us_per_request.append(cpu_us / count)
    row.cpu_us_per_chunk.append(cpu_us / max(1, found["chunks"]))
    row.requests_per_s.append(count / found["seconds"])
    for name in ("p50_us", "p99_us", "delay_p50_us", "delay_p99_us"):
        getattr(row, name).append(found[name])
    row.first_us.append(found["first_p50_us"])


def alternated(
    contenders: list[Contender], loads: tuple[Load, ...], rounds: int, limit_s: float
) -> dict[tuple[str, str], Row]:
    """Each contender under each load, once a round, in an order that is drawn anew each time; no
    further load is begun after `limit_s`."""
    rows: dict[tuple[str, str], Row] = {}
    until = time.monotonic() + limit_s
    for number in range(rounds + 1):
        for load in loads:
            if time.monotonic() > until:
                return rows
            for contender in random.sample(contenders, len(contenders)):
                if contender.name in SLOW and not load.slow_too:
                    continue
                row = Row() if number == 0 else rows.setdefault((load.name, contender.name), Row())
                measure(contender, load, row)
        print(f"… round {number} of {rounds}", file=sys.stderr, flush=True)
    return rows
