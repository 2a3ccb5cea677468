"""A control group for each worker: a memory limit that stops it and nobody else, and one word that
ends all of it.

v1 has the limit, v2 has both, and a hybrid machine has the limit in one tree and the end in the
other. Where none of them may be written to there is no group, and process groups must do
(`edge.child`). A folder is named after its home and worker, so that the next hive finds it.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rbee.edge.cgroups import Place, place_of

_PREFIX = "rbee-"


class WorkerCgroup:
    """The folders of one worker's groups; none of them: nothing here does anything."""

    def __init__(self, memory: Path | None, version: int, unified: Path | None) -> None:
        self.memory = memory
        self.version = version
        self.unified = unified

    @classmethod
    def make(cls, home: str, worker: str, limit_bytes: int, place: Place) -> WorkerCgroup:
        """New groups below or beside `place`; a limit of 0 is none. Never raises: what may not be
        made is not there."""
        name = _name(home, worker)
        memory = version = None
        for parent in _parents(place):
            if memory := _made(parent / name, parent, place.version):
                version = place.version
                break
        unified = memory if version == 2 else None
        if unified is None and place.unified is not None:
            unified = _made(place.unified / name, None, 2)
        group = cls(memory, version or 0, unified)
        if limit_bytes > 0:
            group.limit(limit_bytes)
        return group

    @classmethod
    def of(cls, pid: int, home: str, worker: str) -> WorkerCgroup:
        """Those that a process of an earlier hive stands in."""
        place = place_of(pid)
        name = _name(home, worker)
        memory = place.memory if place.memory and place.memory.name == name else None
        unified = place.unified if place.unified and place.unified.name == name else None
        return cls(memory, place.version if memory else 0, unified)

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(one for one in (self.memory, self.unified) if one is not None))

    def limit(self, limit_bytes: int) -> bool:
        """Bound its memory, page cache included; what it has mapped is given back first."""
        if self.memory is None:
            return False
        if self.version == 1:
            return _write(self.memory / "memory.limit_in_bytes", str(limit_bytes))
        _write(self.memory / "memory.oom.group", "1")
        return _write(self.memory / "memory.max", str(limit_bytes))

    def take(self, pid: int) -> None:
        """Put a process in; its children are born there."""
        for folder in self.folders:
            _write(folder / "cgroup.procs", str(pid))

    def members(self) -> set[int]:
        """Who is in it now; zombies have left."""
        return {pid for folder in self.folders for pid in _pids(folder)}

    def kill(self) -> bool:
        """SIGKILL to all of it at once, or to each; whether somebody lived."""
        members = self.members()
        if members and not (self.unified and _write(self.unified / "cgroup.kill", "1")):
            _kill_each(members)
        return bool(members)

    def remove(self) -> list[Path]:
        """Remove the folders; gives those that are still in use."""
        return [folder for folder in self.folders if not _removed(folder)]


def left_over(home: str, place: Place) -> Iterator[WorkerCgroup]:
    """Groups of this home that are there, used or not."""
    mark = _name(home, "")
    for version, parents in ((place.version, _parents(place)), (2, _unified_parents(place))):
        for parent in parents:
            for folder in sorted(parent.glob(f"{mark}*")):
                yield WorkerCgroup(folder if version == 1 else None, version, _if(version, folder))


def _if(version: int, folder: Path) -> Path | None:
    return folder if version == 2 else None


def _name(home: str, worker: str) -> str:
    return f"{_PREFIX}{hashlib.sha256(home.encode()).hexdigest()[:12]}-{worker}"


def _parents(place: Place) -> list[Path]:
    """Where a group with a limit may be made: v1 below our own; on v2 beside it too, since a v2
    group that holds processes may not hand the controller down."""
    if place.memory is None:
        return []
    return [place.memory] if place.version == 1 else [place.memory, place.memory.parent]


def _unified_parents(place: Place) -> list[Path]:
    own = [place.unified] if place.unified is not None and place.version != 2 else []
    return own + (_parents(place) if place.version == 2 else [])


def _made(folder: Path, parent: Path | None, version: int) -> Path | None:
    """A new group; with `parent` one that can bound memory, or none."""
    if parent is not None and version == 2 and not _hands_down_memory(parent):
        return None
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return None
    return folder


def _hands_down_memory(parent: Path) -> bool:
    try:
        return "memory" in (parent / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError:
        return False


def _pids(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text("ascii").split()]
    except OSError:
        return []


def _kill_each(members: set[int]) -> None:
    for pid in members - {os.getpid()}:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _write(file: Path, value: str) -> bool:
    try:
        file.write_text(value, encoding="ascii")
    except OSError:
        return False
    return True
