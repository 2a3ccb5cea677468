"""What commands know of distant addresses, in `state/dial.json`: read and changed under a lock.

A file that cannot be read or written is no reason to refuse a command: it then knows nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from rbee.edge.home import Home
from rbee.edge.private_file import read_small, write_private
from rbee.policy.dial_breaker import CLEAR, Line

_MOST = 64
"""Addresses that are remembered; the longest untouched goes first."""
_BEYOND = (OverflowError, RecursionError)
"""A number that is none, and lists without end."""
_T = TypeVar("_T")


class DialFile:
    """The lines of one home, one for each address."""

    def __init__(self, home: Home) -> None:
        self._path = home.state / "dial.json"

    def change(self, address: str, decide: Callable[[Line], tuple[_T, Line]]) -> _T:
        """Let `decide` see the line and say what becomes of it; nobody else does so meanwhile."""
        with self._locked():
            lines = self._read()
            line = lines.pop(address, CLEAR)
            found, after = decide(line)
            if after != CLEAR:
                lines[address] = after
            if after != line:
                self._write(lines)
        return found

    def clear(self) -> None:
        """Know nothing of any address."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = -1
        with suppress(OSError):
            descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _read(self) -> dict[str, Line]:
        try:
            found = json.loads(read_small(self._path))
            return {str(url): Line(int(one[0]), float(one[1])) for url, one in found.items()}
        except (OSError, ValueError, TypeError, AttributeError, LookupError, *_BEYOND):
            return {}

    def _write(self, lines: dict[str, Line]) -> None:
        newest = list(lines.items())[-_MOST:]
        kept = {url: (line.failures, line.failed_at) for url, line in newest}
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._path, json.dumps(kept).encode())
