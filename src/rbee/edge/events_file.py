"""A bounded file of lines: appended, turned over once, read from its end."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path


def append_line(path: Path, line: bytes, limit_bytes: int) -> None:
    """Append one line (0600); beyond `limit_bytes` the file becomes `NAME.1` and a new one begins.

    A disk that refuses is passed over: a log must not bring down what it logs. What it has taken of
    a line, or what a lost machine has left of one, does not run into the next.
    """
    try:
        if path.exists() and path.stat().st_size + len(line) > limit_bytes:
            path.replace(path.with_name(path.name + ".1"))
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"\n" + line if _is_torn(descriptor) else line)
        finally:
            os.close(descriptor)
    except OSError:
        return


def _is_torn(descriptor: int) -> bool:
    """Whether the last line lacks its end."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def read_tail(path: Path, lines: int) -> list[bytes]:
    """The last lines of the file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return list(deque(file, maxlen=lines))
    except OSError:
        return []
