"""The processes that rbee started for one RBEE_HOME, found without anybody's word for it.

Each carries `RBEE_OF` in its environment, which engines inherit; a process of rbee that was started
by hand is known by `-m rbee.…` and its RBEE_HOME. Pids are used again, so each is named with its
start time, and is looked at again before it is signalled.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

MARK = "RBEE_OF"
"""The variable that says which RBEE_HOME a process belongs to."""

_PARTS = {"rbee.queen": "rbee", "rbee.hive": "machine", "rbee.worker": "worker"}


@dataclass(frozen=True, slots=True)
class Found:
    """One process; `part` is the word for screens."""

    pid: int
    started_at: float
    part: str
    name: str
    memory_bytes: int = 0


def processes_of(home: str) -> list[Found]:
    """All that live now, rbee itself first; zombies have ended."""
    found = [one for pid in psutil.pids() if (one := _look(pid, home)) is not None]
    order = ("rbee", "machine", "worker", "engine")
    return sorted(found, key=lambda one: (order.index(one.part), one.started_at))


def signal_all(processes: Iterable[Found], number: int, home: str) -> None:
    """Signal each that still is what it was when it was found."""
    for one in processes:
        if still_there(one, home):
            try:
                os.kill(one.pid, number)
            except ProcessLookupError:
                continue


def still_there(process: Found, home: str) -> bool:
    """Whether that very process lives, by pid, start time and mark."""
    now = _look(process.pid, home)
    return now is not None and now.started_at == process.started_at


def ancestors(pid: int) -> set[int]:
    """Pids of parent, grandparent and so on."""
    try:
        return {one.pid for one in psutil.Process(pid).parents()}
    except psutil.Error:
        return set()


def _look(pid: int, home: str) -> Found | None:
    if pid == os.getpid():
        return None
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            environment = process.environ()
            if environment.get(MARK) != home and environment.get("RBEE_HOME") != home:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            part = _part(process.cmdline())
            if not part and environment.get(MARK) != home:
                return None
            return Found(
                pid,
                process.create_time(),
                part or "engine",
                process.name(),
                int(process.memory_info().rss),
            )
    except (psutil.Error, OSError):
        return None


def _part(command: list[str]) -> str:
    for before, word in itertools.pairwise(command):
        if before == "-m" and word in _PARTS:
            return _PARTS[word]
    return ""
