"""What the kernel's out-of-memory killer did to a process: the only witness of an OOM kill.

A process that the kernel kills for memory ends with SIGKILL, like one that a person kills. The
counter `oom_kill` of its cgroup (v2 `memory.events`, v1 `memory.oom_control`) tells them apart. A
process may be moved between cgroups, and after its end nobody says where it was: so it is looked
at while it lives.
"""

from __future__ import annotations

import os
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_WHOLE_MACHINE = Path("/proc/vmstat")
"""Has an `oom_kill` for the whole machine: used where no cgroup counts memory."""


class OomWatch:
    """Counts OOM kills around one process. Made at its start; `look` at it now and then."""

    def __init__(self, pid: int) -> None:
        self._first: dict[Path, int] = {}
        self._counter: Path | None = None
        self.look(pid)

    def look(self, pid: int) -> None:
        """Note where the process (or another one of its group) is now, and that place's count."""
        counter = _counter_of(pid)
        if counter is None:
            return
        self._counter = counter
        self._first.setdefault(counter, _read(counter))

    def kills(self) -> int:
        """How many processes were killed for memory where this one lived, since it came there."""
        if self._counter is None:
            return 0
        return max(0, _read(self._counter) - self._first[self._counter])


def _counter_of(pid: int) -> Path | None:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    mounts = _memory_mounts()
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        v1 = "memory" in controllers.split(",")
        if not v1 and controllers:
            continue
        mount = mounts.get("cgroup" if v1 else "cgroup2")
        name = "memory.oom_control" if v1 else "memory.events"
        if mount is not None and (counter := _below(mount, inside, name)) is not None:
            return counter
    return _WHOLE_MACHINE if _WHOLE_MACHINE.exists() else None


def _below(mount: tuple[str, str], inside: str, name: str) -> Path | None:
    """The counter's file. In a container the mount shows only a part of the tree (its root)."""
    point, root = mount
    relative = os.path.relpath(inside, root) if inside.startswith(root) else "."
    counter = Path(point) / relative / name
    return counter if counter.exists() else None


def _memory_mounts() -> dict[str, tuple[str, str]]:
    """By kind (`cgroup` with memory, `cgroup2`): where it is mounted, and which part of it."""
    found: dict[str, tuple[str, str]] = {}
    try:
        lines = _MOUNTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        left, _, right = line.partition(" - ")
        kind, *rest = right.split()
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in rest[-1].split(",")):
            fields = left.split()
            found[kind] = (fields[4], fields[3])
    return found


def _read(counter: Path) -> int:
    try:
        text = counter.read_text(encoding="ascii")
    except OSError:
        return 0
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0
