"""What holds a download back: a rate that a person set, and a disk that is full."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from rbee.edge.disk import free_bytes

_BURST_S = 0.25
_AGAIN_BYTES = 16 << 20
"""Of room above the reserve before a paused download goes on, so that it does not stop at once."""


class Throttle:
    """At most so many bytes a second, shared by all parts; 0: no limit."""

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    def block_bytes(self, most: int) -> int:
        """How much to read at once, so that a low rate is steady too."""
        return min(most, max(1, self._bytes_per_s // 8)) if self._bytes_per_s else most

    def take(self, count: int) -> float:
        """Account for so many bytes; gives the seconds to wait before the next."""
        if not self._bytes_per_s:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - _BURST_S) + count / self._bytes_per_s
            return max(0.0, self._free_at - now)


class DiskBrake:
    """Holds all parts while there is less room than the reserve, or none at all.

    The main thread looks (`look`); parts `wait` before they write, and say when the disk refused
    (`refuse`).
    """

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._go = threading.Event()
        self._go.set()
        self._since = 0.0

    def look(self, left_bytes: int) -> float:
        """Pause or go on as the disk has it now; gives for how many seconds it is paused. Raises
        OSError."""
        free = free_bytes(self._folder)
        now = time.monotonic()
        if self._go.is_set():
            if free < self._reserve_bytes:
                self.refuse()
        elif free >= self._reserve_bytes + min(max(left_bytes, 1), _AGAIN_BYTES):
            self._go.set()
        return 0.0 if self._go.is_set() else max(now - self._since, 1e-9)

    def refuse(self) -> None:
        """The disk took no more."""
        if self._go.is_set():
            self._since = time.monotonic()
            self._go.clear()

    def wait(self, within_s: float) -> bool:
        """Whether there is room now; waits for it, but not longer than that."""
        return self._go.wait(within_s)

    def shortage(self) -> tuple[int, int]:
        """Bytes that must be free, and that are."""
        return self._reserve_bytes + _AGAIN_BYTES, free_bytes(self._folder)
