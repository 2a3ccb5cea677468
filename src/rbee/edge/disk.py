"""Disks: room before it is needed, and what a refusal of theirs means."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rbee.errors import RbeeError

_SOME_AVG10 = re.compile(rb"^some avg10=([\d.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Identity:
    """What changes when a file is written to or replaced, all by itself cheap to look at."""

    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


def identity(path: Path) -> Identity:
    """Of the file that the path leads to. Raises OSError."""
    found = path.stat()
    return Identity(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def sizes_bytes(words: Iterable[str]) -> int:
    """Of all the files among these words of a command line."""
    return sum(os.path.getsize(word) for word in words if os.path.isfile(word))


def free_bytes(folder: Path) -> int:
    """What this user may still write there. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def has_room(folder: Path, size_bytes: int) -> bool:
    """Whether that much fits; what cannot be asked has none."""
    try:
        return free_bytes(folder) >= size_bytes
    except OSError:
        return False


def waiting_percent(proc: Path) -> float | None:
    """Of the last 10 s, in how much some program waited for a disk, as the Linux kernel says it
    (PSI); None where it does not."""
    try:
        found = _SOME_AVG10.search((proc / "pressure" / "io").read_bytes())
    except OSError:
        return None
    return float(found[1]) if found else None


def need_room(folder: Path, size_bytes: int, reserve_bytes: int) -> None:
    """Raises DISK_FULL unless the size fits and the reserve stays free."""
    free = free_bytes(folder)
    needed = size_bytes + reserve_bytes
    if free < needed:
        raise RbeeError("DISK_FULL", needed_bytes=needed, free_bytes=free, path=str(folder))


def translated(error: OSError, act: str, path: Path, needed_bytes: int = 1) -> RbeeError:
    """A file system's refusal in our words: full, read-only, forbidden, or broken. `needed_bytes`:
    what was still to be written, where that is known."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RbeeError(
            "DISK_FULL",
            needed_bytes=needed_bytes,
            free_bytes=_free_or_none(path),
            path=str(path),
        )
    if error.errno == errno.EROFS:
        return RbeeError("DISK_READ_ONLY", path=str(path))
    if error.errno in (errno.EACCES, errno.EPERM):
        return RbeeError("DISK_PERMISSION", act=act, path=str(path))
    return RbeeError("DISK_IO", act=act, problem=error.strerror or repr(error), path=str(path))


def _free_or_none(path: Path) -> int:
    for folder in (path, *path.parents):
        if folder.is_dir():
            return free_bytes(folder)
    return 0
