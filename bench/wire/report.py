"""The table, and the ratios that are promised, as text."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from bench.wire.rounds import Row

Rows = Mapping[tuple[str, str], Row]
_J16, _J1, _J512 = "JSON, 16 clients", "JSON, 1 client", "JSON, 512 clients"
_PACED, _FIRST = "paced, 64 streams", "paced, 1 stream"


def table(rows: Rows, memory_mib: Mapping[str, float]) -> str:
    """One line for each contender under each load."""
    lines = [
        "| load | gateway | CPU µs a request | CPU µs a chunk | requests/s | p50 µs | p99 µs "
        "| first chunk µs | chunk delay p50 / p99 µs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (load, name), row in rows.items():
        streamed = row.median("first_us") > 0
        cells = [load, name, _cell(row, "cpu_us_per_request")]
        cells.append(_cell(row, "cpu_us_per_chunk") if streamed else "–")
        cells += [f"{row.median('requests_per_s'):,.0f}", f"{row.median('p50_us'):,.0f}"]
        cells.append(f"{row.median('p99_us'):,.0f}")
        cells.append(f"{row.median('first_us'):,.0f}" if streamed else "–")
        delays = (row.median("delay_p50_us"), row.median("delay_p99_us"))
        cells.append(f"{delays[0]:,.0f} / {delays[1]:,.0f}" if streamed else "–")
        lines.append("| " + " | ".join(cells) + " |")
    held = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in memory_mib.items())
    return "\n".join([*lines, "", f"Resident after it all: {held}."])


def _cell(row: Row, name: str) -> str:
    value = row.median(name)
    return "–" if not value else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def goals(rows: Rows) -> str:
    """What is promised and what this run shows; of a contender that is not here nothing is said."""
    lines = ["| promise | goal | this run | |", "|---|---|---|---|"]
    for what, limit, value in _promises(rows):
        met = "ok" if value <= limit else "MISSED"
        lines.append(f"| {what} | ≤ {_number(limit)} | {_number(value)} | {met} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    if value >= 20:
        return f"{value:.0f} µs"
    return f"1/{1 / value:.0f}" if 0 < value < 0.1 else f"{value:.2f}"


def _promises(rows: Rows) -> list[tuple[str, float, float]]:
    over, above = _ratio(rows), _difference(rows)
    request, chunk = "cpu_us_per_request", "cpu_us_per_chunk"
    asked: list[tuple[str, float, Callable[[], float]]] = [
        ("CPU a JSON request, 16 clients, over vllm-router", 0.7,
         lambda: over(_J16, request, "vllm-router")),
        ("the same over nginx", 3.6, lambda: over(_J16, request, "nginx")),
        ("the same over LiteLLM", 1 / 150, lambda: over(_J16, request, "litellm")),
        ("CPU a paced chunk, 64 streams, over vllm-router", 1.1,
         lambda: over(_PACED, chunk, "vllm-router")),
        ("the same over nginx", 2.3, lambda: over(_PACED, chunk, "nginx")),
        ("median latency over direct, 1 client", 70, lambda: above(_J1, "p50_us")),
        ("first chunk over direct, 1 client", 600, lambda: above(_FIRST, "first_us")),
        ("p99 at 512 clients over nginx", 2.5, lambda: over(_J512, "p99_us", "nginx")),
    ]  # fmt: skip
    found = []
    for what, limit, value in asked:
        try:
            found.append((what, limit, value()))
        except KeyError:
            continue
    return found


def _ratio(rows: Rows) -> Callable[[str, str, str], float]:
    def over(load: str, what: str, other: str) -> float:
        """The median of the ratios of each round: what a round suffers, both suffer."""
        mine, theirs = getattr(rows[load, "rbee"], what), getattr(rows[load, other], what)
        ratios = sorted(a / b for a, b in zip(mine, theirs))
        return float(ratios[len(ratios) // 2])

    return over


def _difference(rows: Rows) -> Callable[[str, str], float]:
    def above(load: str, what: str) -> float:
        return rows[load, "rbee"].median(what) - rows[load, "direct"].median(what)

    return above


def written(rows: Rows, memory_mib: Mapping[str, float], rounds: int) -> str:
    """REPORT.md."""
    now = datetime.now(UTC).strftime("%d %B %Y")
    return _REPORT.format(
        now=now,
        rounds=rounds,
        machine=platform.machine(),
        python=platform.python_version(),
        table=table(rows, memory_mib),
        goals=goals(rows),
    )


_REPORT = """\
# What a gateway costs

Taken on {now}: 2 cores, {machine}, Python {python}; at most {rounds} rounds, the contenders
alternated in an order drawn anew for each load; medians. rbee runs with every feature on: a key
with three limits, a deadline on each request, metrics, the access log, liveness, the transcript
that a splice needs, the journal open. CPU is what the scheduler counted for the gateway's processes
(`/proc/PID/task/*/schedstat`), pinned to one processor; the engine double and the crowd of clients
(`engine.c`, `load.c`) use what is left. Absolute times are those of a small shared machine: the
ratios are what to trust.

## Promises

{goals}

## Table

{table}

## Again

    apt-get install nginx-light gcc       # what is not there is left out of the table
    make wire                             # the table above, into bench/REPORT.md
    python -m bench.wire --only rbee nginx --loads 'paced,JSON, 16' --rounds 9
    python -m bench.wire.profile paced    # where the queen's time goes, as a flamegraph
    python -m bench.wire.soak             # many requests, random hang-ups, memory, idle connections

vllm-router and LiteLLM are installed once, each in an environment of its own under
`~/.cache/rbee-bench`.
"""
