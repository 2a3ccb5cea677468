"""Memory as this process may use it: the machine's, or its control group's where that is less."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

from rbee.edge.cgroups import PROC, Place, place_of


@dataclass(frozen=True, slots=True)
class Memory:
    """What there is. A cgroup's limit counts where it is smaller than the machine."""

    total_bytes: int
    available_bytes: int


def look(place: Place | None = None) -> Memory:
    """Memory now."""
    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    place = place_of("self") if place is None else place
    bounded = bounded_by(place)
    if bounded is not None and bounded[0] < total:
        total, available = bounded[0], min(available, bounded[1])
    return Memory(total, available)


def private_bytes(pid: int) -> int:
    """What a process holds that nobody else could have: resident, without what is mapped from files
    or shared. 0 where that cannot be read."""
    try:
        fields = (PROC / str(pid) / "statm").read_bytes().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * resource.getpagesize()


def bounded_by(place: Place) -> tuple[int, int] | None:
    """Limit of the cgroup and what is free below it; file pages are given back when needed."""
    if place.memory is None:
        return None
    v1 = place.version == 1
    limit = _number(place.memory / ("memory.limit_in_bytes" if v1 else "memory.max"))
    used = _number(place.memory / ("memory.usage_in_bytes" if v1 else "memory.current"))
    if limit is None or used is None:
        return None
    names = ("total_inactive_file", "total_active_file") if v1 else ("inactive_file", "active_file")
    stat = _stat(place.memory / "memory.stat")
    return limit, max(0, limit - used + sum(stat.get(name, 0) for name in names))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _stat(file: Path) -> dict[str, int]:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
        return {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}
    except (OSError, ValueError):
        return {}
