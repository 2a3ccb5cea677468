"""One process at a time at one thing; a lock dies with its holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_S = 0.1


@contextmanager
def alone(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file of that path, which the holder may remove, with its folder or without.

    `waiting` is called ten times a second while another process holds it. Raises OSError.
    """
    lock = _lock(path, waiting)
    try:
        yield
    finally:
        os.close(lock)


def _lock(path: Path, waiting: Callable[[], None]) -> int:
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        try:
            while not _taken(lock):
                waiting()
                time.sleep(_LOOK_S)
            # Whoever had it may have removed the file: then this lock keeps nobody out.
            if os.fstat(lock).st_ino == path.stat().st_ino:
                return lock
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
