"""The engine's log, read while it grows: where the port and the causes of failures stand.

The hive made one append-only file of the worker's stdout and stderr (never a pipe: a full one froze
the engine at request 152); the worker reads that file from where it was at its own start.
"""

from __future__ import annotations

import os
import re
from collections import deque
from pathlib import Path

KEPT_LINES = 200
"""Enough for the longest recorded failure (35 lines) with the load before it."""

_READ_BYTES = 256 << 10
_LISTENS = re.compile(r"(?:^|\s)(?:srv|main)\b[^']*listening on https?://\S+?:(\d+)")
_USES = re.compile(r"\bload_tensors:\s+(\w+) model buffer size")
"""Where weights lie. That the engine is `using device` says less: it may put no layer there."""
_OFFLOADED = re.compile(r"\bload_tensors: offloaded (\d+)/(\d+) layers to GPU")


class EngineLog:
    """Follows a file that may not be there: then nothing is ever read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = _size_bytes(path)
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.port = 0
        """Where the engine says that it listens; 0: it did not say so yet."""
        self.devices: set[str] = set()
        """Devices that hold weights, in the engine's own words (`CUDA0`); empty: not told."""
        self.offloaded: tuple[int, int] | None = None
        """Layers that it put on GPUs, of how many; None: not told."""

    def read(self) -> bool:
        """Take what is new; true if there was anything."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read(_READ_BYTES)
        except OSError:
            return False
        self._offset += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        for line in whole:
            self._take(line.decode("utf-8", "replace"))
        return bool(new)

    def tail(self) -> tuple[str, ...]:
        """The last lines, an unfinished one included."""
        while self.read():
            continue
        rest = self._rest.decode("utf-8", "replace")
        return (*self._lines, rest) if rest else tuple(self._lines)

    def _take(self, line: str) -> None:
        self._lines.append(line)
        if self.port == 0 and (listens := _LISTENS.search(line)):
            self.port = int(listens.group(1))
        if uses := _USES.search(line):
            self.devices.add(uses.group(1))
        elif offloaded := _OFFLOADED.search(line):
            self.offloaded = (int(offloaded.group(1)), int(offloaded.group(2)))


def _size_bytes(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
