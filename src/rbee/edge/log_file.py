"""The log of a process that lives long: its standard error, a file that is turned over.

Beyond a size the file becomes `NAME.1` and a new one begins, at a start and while the process runs.
"""

from __future__ import annotations

import os
from pathlib import Path

LIMIT_BYTES = 16 << 20
"""Of each of the two: about 80,000 requests."""

_STDERR = 2


def open_log(path: Path, limit_bytes: int = LIMIT_BYTES) -> int:
    """A descriptor (0600) that appends. Raises OSError as the file system does."""
    if path.exists() and path.stat().st_size > limit_bytes:
        path.replace(_older(path))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def turn_over(path: Path, limit_bytes: int = LIMIT_BYTES) -> bool:
    """Begin a new file if this process writes to that one and it is too large; whether it did.
    A disk that refuses leaves it as it is."""
    try:
        own = os.fstat(_STDERR)
        if own.st_size <= limit_bytes or not os.path.samestat(own, path.stat()):
            return False
        descriptor = open_log(path, limit_bytes)
    except OSError:
        return False
    try:
        os.dup2(descriptor, _STDERR)
    finally:
        os.close(descriptor)
    return True


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
