"""How much processor time a control group leaves this process, where it bounds that.

A container with two of 32 cores sees all 32: its bound is a quota of time, and an engine with more
threads than that stands still for a part of each period.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rbee.edge.cgroups import PROC, folder_of

_DEPTH = 16
"""Groups above one another that are looked at; each may have a bound of its own."""


def quota_cores(proc: Path = PROC) -> float | None:
    """The least bound of this process's group and those above it, in cores; None: no bound."""
    v1 = folder_of("self", "cpu", proc)
    v2 = folder_of("self", "", proc)
    bounds = [*_bounds(v1, _v1), *_bounds(v2, _v2)]
    return min(bounds, default=None)


def _bounds(folder: Path | None, read: Callable[[Path], float | None]) -> list[float]:
    found = []
    for _ in range(_DEPTH):
        if folder is None or folder == folder.parent:
            break
        bound = read(folder)
        if bound is not None:
            found.append(bound)
        folder = folder.parent
    return found


def _v2(folder: Path) -> float | None:
    """`max 100000`, or `200000 100000`: so much of each period, in microseconds."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return _cores(quota, period)


def _v1(folder: Path) -> float | None:
    return _cores(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _cores(quota: str, period: str) -> float | None:
    if not quota.isdecimal() or not period.isdecimal() or not int(period):
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
