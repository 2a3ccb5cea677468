"""The log of acts on disk: `state/audit.jsonl` (0600), bounded, written by queen and command line.

A lock on its folder puts the writers in order, so that each line can name the one before it.
"""

from __future__ import annotations

import fcntl
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rbee.edge.home import Home
from rbee.wire.audit import Act, line_of

LIMIT_BYTES = 4 << 20
"""Then it becomes audit.jsonl.1 and a new one begins: about 20,000 acts each."""
_LINE_BYTES = 8 << 10


class AuditFile:
    """The log of one home. Methods block."""

    def __init__(self, home: Home, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = home.state / "audit.jsonl"
        self._older = self.path.with_name("audit.jsonl.1")
        self._limit_bytes = limit_bytes

    def add(self, act: Act) -> None:
        """Append it. Raises OSError as the disk refuses: the act has happened all the same."""
        with self._locked():
            last = _last_line(self.path)
            line = line_of(act, last.rstrip(b"\n") or _last_line(self._older).rstrip(b"\n"))
            if last and not last.endswith(b"\n"):
                line = b"\n" + line
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            if self.path.exists() and self.path.stat().st_size + len(line) > self._limit_bytes:
                self.path.replace(self._older)
            descriptor = os.open(self.path, flags, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)

    def lines(self) -> list[bytes]:
        """All that are kept, oldest first; none if they cannot be read."""
        found: list[bytes] = []
        for path in (self._older, self.path):
            try:
                found += path.read_bytes().splitlines()
            except OSError:
                continue
        return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def user_name(uid: int) -> str:
    """`root`; a user that the system does not name is told by number. It may ask a directory."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"user {uid}"


def _last_line(path: Path) -> bytes:
    """With its end, unless a full disk cut it off; empty: there is none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _LINE_BYTES))
            lines = file.read().splitlines(keepends=True)
    except OSError:
        return b""
    return lines[-1] if lines else b""
