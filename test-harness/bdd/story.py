"""What a person needs to see when a scenario is red: short, in the order in which one asks.

What was done and answered; what rbee said happened; how it stands now; what its logs complain of;
where the rest is.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from world import Home

KEEP = "RBEE_KEEP_HOMES"
"""1: homes of scenarios are not removed."""
_SAYS_LITTLE = "print_timing"
COMMANDS, ANSWERS, EVENTS, LINES = 6, 5, 12, 6
WIDTH = 220


def tell(home: Home) -> str:
    """The story of a home, as far as it can still be told."""
    chapters: dict[str, Callable[[Home], Iterable[str]]] = {
        "what was done": done,
        "what came of streams": streamed,
        "what rbee says happened (state/events.jsonl)": happened,
        "how it stands now": standing,
        "what the logs complain of": complaints,
        "the last lines of the logs": last_lines,
    }
    parts = []
    for title, chapter in chapters.items():
        lines = [line[:WIDTH] for line in chapter(home)]
        parts += [f"--- {title}", *lines] if lines else []
    where = f"{home.path} (removed at the end; {KEEP}=1 keeps it)"
    return "\n".join([*parts, "--- where the rest is", where])


def done(home: Home) -> Iterator[str]:
    for one in home.outcomes[-COMMANDS:]:
        yield f"$ rbee {one.command}   exit {one.code} after {one.took_s:.1f} s"
        if one.code:
            yield from (
                f"    {line}" for line in (one.err or one.out).strip().splitlines()[-LINES:]
            )
    for answer in home.answers[-ANSWERS:]:
        yield f"{answer.request.method} {answer.request.url.path} -> {answer.status_code}" + (
            f" {answer.text}" if answer.status_code >= 400 else ""
        )


def streamed(home: Home) -> Iterator[str]:
    for one in home.streams[-ANSWERS:]:
        how = one.broken or ("ended" if one.ended.is_set() else "still running")
        last = next((line for line in reversed(one.lines) if line.startswith("data: {")), "")
        yield f"{one.status} after {one.tokens} tokens: {how}; the last event: {last}"


def happened(home: Home) -> Iterator[str]:
    for line in tail(home.path / "state" / "events.jsonl", EVENTS):
        said = parsed(line)
        about = " ".join(str(said[name]) for name in ("model", "worker", "job") if said.get(name))
        if said.get("at", 0) < home.story_began:
            continue
        yield f"{clock(said.get('at', 0))} {said.get('code')} ({about}): {said.get('what')}"
        yield f"    then: {said.get('done')} [{said.get('outcome')}]"


def standing(home: Home) -> Iterator[str]:
    """Workers, lines and jobs as the queen shows them, and the processes that there are."""
    try:
        shown = home.ps()
        for one in shown["workers"]:
            problem = f": {one['problem']} {one['problem_message']}" if one["problem"] else ""
            where = f"pid {one['pid']}, {one['busy']} of {one['slots']} slots busy"
            name = f"worker {one['id']} {one['model']} ({one['mode']})"
            yield f"{name} {one['state']}, {where}{problem}"
        for name, line in shown["queues"].items():
            yield f"{line['waiting']} wait for {name}"
        jobs = httpx.get(home.url + "/v1/jobs", headers=home.headers, timeout=5).json()
        for job in jobs.get("data", ())[-LINES:]:
            error = job["error"] and job["error"]["code"]
            tries = [(one["worker"], one["code"]) for one in job["attempts"]]
            yield f"{job['job_id']} {job['status']} {error or ''} {tries or ''}"
    except (OSError, httpx.HTTPError, KeyError, ValueError) as error:
        yield f"the queen says nothing: {error!r}"
    for process in home.processes():
        words = " ".join(process.cmdline()[1:])
        yield f"process {process.pid} {process.status()}: {words}"


def complaints(home: Home) -> Iterator[str]:
    """Warnings, errors and tracebacks of rbee's own logs."""
    for name in ("queen", "hive", "keeper"):
        lines = tail(home.path / "logs" / f"{name}.log", 400)
        bad = [one for one in lines if parsed(one).get("level") not in ("info", "debug")]
        yield from (f"{name}: {plain(line)}" for line in bad[-2 * LINES :])


def last_lines(home: Home) -> Iterator[str]:
    for name in ("queen", "hive"):
        for line in tail(home.path / "logs" / f"{name}.log", LINES):
            yield f"{name}: {plain(line)}"
    logs = sorted((home.path / "logs" / "workers").glob("*.log"))[-2:]
    for path in [*sorted((home.path / "run" / "workers").glob("*/log")), *logs]:
        telling = [line for line in tail(path, 60) if _SAYS_LITTLE not in line]
        yield from (f"{path.relative_to(home.path)}: {line}" for line in telling[-3:])


def plain(line: str) -> str:
    """A line of a structured log as a person reads it; any other as it is."""
    said = parsed(line)
    if "event" not in said:
        return line
    at = str(said.pop("timestamp", ""))[11:19]
    event, trace = said.pop("event"), str(said.pop("exception", ""))
    facts = " ".join(f"{name}={value}" for name, value in said.items() if name != "process")
    return f"{at} {event} {facts} {raised(trace)}".strip()


def raised(trace: str) -> str:
    """The last line of a traceback, and where in rbee it was."""
    places = re.findall(r'File "[^"]*/(rbee/[^"]+)", line (\d+), in (\w+)', trace)
    if not trace:
        return ""
    file, line, function = places[-1] if places else ("?", "?", "?")
    return f"{trace.strip().splitlines()[-1]} ({file}:{line}, in {function})"


def tail(path: Path, count: int) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def parsed(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(at))
