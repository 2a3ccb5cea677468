"""A bounded file of lines: appended, turned over once, read from its end."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path


def append_line(path: Path, line: bytes, limit_bytes: int) -> None:
    """Append one line (0600); beyond `limit_bytes` the file becomes `NAME.1` and a new one begins.

    A disk that refuses is passed over: a log must not bring down what it logs.
    """
    try:
        if path.exists() and path.stat().st_size + len(line) > limit_bytes:
            path.replace(path.with_name(path.name + ".1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
    except OSError:
        return


def read_tail(path: Path, lines: int) -> list[bytes]:
    """The last lines of the file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return list(deque(file, maxlen=lines))
    except OSError:
        return []
