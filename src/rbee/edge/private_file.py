"""Small files of this user's: read up to a bound, replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MOST_BYTES = 4 << 20
"""A configuration, the wishes or 10,000 keys are smaller by far."""


def read_small(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The whole file. Raises OSError as the file system does, and at once for what is no file (a
    pipe would wait for its writer) or larger than that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes >> 20} MiB", str(path))
    return content


def read_private(path: Path, limit_bytes: int) -> bytes:
    """A secret that nobody else may read. Raises PermissionError if others may, OSError as the file
    system does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            raise PermissionError(errno.EACCES, "others may read it (chmod 600)")
        return os.read(descriptor, limit_bytes)
    finally:
        os.close(descriptor)


def write_private(path: Path, data: bytes) -> None:
    """Replace the file (0600) in one step; after a crash it is the old one or the new one.

    Raises OSError as the file system does.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            left = memoryview(data)
            while left:
                # A disk that fills up takes a part first and refuses the next.
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
