"""Where a process stands among the control groups."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of a process's cgroups; on a hybrid machine memory is of v1, the rest of v2."""

    memory: Path | None = None
    version: int = 0
    """Of `memory`: 1 or 2; 0: no cgroup counts memory here."""
    unified: Path | None = None
    """Its cgroup v2, whether that one counts memory or not."""

    @property
    def oom_counter(self) -> Path | None:
        """The file that counts OOM kills here."""
        if self.memory is None:
            return None
        return self.memory / ("memory.oom_control" if self.version == 1 else "memory.events")


def place_of(pid: int | str, proc: Path = PROC) -> Place:
    """Where a process (`self`: this one) is now; an empty place if nobody says."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return Place()
    mounts = _mounts(proc)
    memory, version, unified = None, 0, None
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        if "memory" in controllers.split(",") and "cgroup" in mounts:
            memory, version = _below(mounts["cgroup"], inside), 1
        elif not controllers and "cgroup2" in mounts:
            unified = _below(mounts["cgroup2"], inside)
    if memory is None and unified is not None and (unified / "memory.events").exists():
        memory, version = unified, 2
    return Place(memory, version if memory else 0, unified)


def folder_of(pid: int | str, controller: str, proc: Path = PROC) -> Path | None:
    """The folder of its group of that controller of v1; of no controller: of its group of v2."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    mount = _mounts(proc, controller).get("cgroup" if controller else "cgroup2")
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        if mount and controller in controllers.split(","):
            return _below(mount, inside)
    return None


def _below(mount: tuple[str, str], inside: str) -> Path | None:
    """The folder of a cgroup. In a container the mount shows only a part of the tree (its root)."""
    point, root = mount
    relative = os.path.relpath(inside, root) if inside.startswith(root) else "."
    folder = Path(os.path.normpath(Path(point) / relative))
    return folder if folder.exists() else None


def _mounts(proc: Path, controller: str = "memory") -> dict[str, tuple[str, str]]:
    """By kind (`cgroup` of that controller, `cgroup2`): where it is mounted, and which part."""
    found: dict[str, tuple[str, str]] = {}
    try:
        lines = (proc / "self" / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        left, _, right = line.partition(" - ")
        kind, *rest = right.split()
        if kind == "cgroup2" or (kind == "cgroup" and controller in rest[-1].split(",")):
            fields = left.split()
            found[kind] = (fields[4], fields[3])
    return found
