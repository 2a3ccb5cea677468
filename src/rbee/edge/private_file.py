"""Small files of this user's, replaced whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path


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
