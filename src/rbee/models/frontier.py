"""The one pass over the bytes of a download that feeds every checksum.

Parts arrive side by side, hashes are fed in order: a thread reads back what is there without a gap,
while it is still in memory.
"""

from __future__ import annotations

import errno
import threading
import zlib
from collections.abc import Callable

from rbee.models.hashing import CHUNK_BYTES, Hashed, Hasher
from rbee.models.partial import Partial

_READ_BYTES = 1 << 20


class Frontier:
    """Hashes a partial as it grows."""

    def __init__(self, partial: Partial) -> None:
        self.error: OSError | None = None
        """Why the bytes could not be read back."""
        self._partial = partial
        self._hasher = Hasher()
        self._turn = partial.turn
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._stopped = False
        self._thread: threading.Thread | None = None

    @property
    def done_bytes(self) -> int:
        return self._hasher.done_bytes

    def recheck(self, tell: Callable[[int], None]) -> None:
        """Read again what was hashed before a restart: a chunk that has another crc32 now is
        fetched again. `tell` hears how far this is. Raises OSError."""
        partial = self._partial
        chunk = memoryview(bytearray(CHUNK_BYTES)) if partial.chunks else self._buffer
        bad: list[int] = []
        for number, crc in enumerate(partial.chunks):
            begin = number * CHUNK_BYTES
            data = chunk[: min(CHUNK_BYTES, partial.size_bytes - begin)]
            if self._load(data, begin) and zlib.crc32(data) == crc:
                if not bad:
                    self._hasher.update(data)
            else:
                bad.append(number)
            tell(begin + len(data))
        for number in reversed(bad):
            partial.distrust(number)

    def start(self) -> None:
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="hashes", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when no byte is read any more; `start` goes on from there."""
        with self._partial.grown:
            self._stopped = True
            self._partial.grown.notify_all()
        if self._thread is not None:
            self._thread.join()

    def end(self) -> Hashed:
        """All checksums, once every byte was hashed."""
        return self._hasher.end()

    def _run(self) -> None:
        try:
            while (ready := self._next()) is not None:
                self._feed(ready)
        except OSError as exc:
            self.error = exc

    def _next(self) -> memoryview | None:
        """The next bytes, read back; waits until there are some. None: stopped."""
        partial = self._partial
        with partial.grown:
            while not self._stopped:
                if partial.turn != self._turn:
                    self._turn = partial.turn
                    self._hasher = Hasher()
                there = partial.contiguous_bytes() - self._hasher.done_bytes
                if there >= _READ_BYTES or (there and partial.whole):
                    break
                partial.grown.wait()
            else:
                return None
        data = self._buffer[: min(there, _READ_BYTES)]
        count = partial.read(data, self._hasher.done_bytes)
        if not count and partial.turn == self._turn:
            raise OSError(errno.EIO, "the file is shorter than what was written to it")
        return data[:count]

    def _feed(self, data: memoryview) -> None:
        before = len(self._partial.chunks)
        turn = self._turn
        self._hasher.update(data)
        done = self._hasher.done_bytes
        if done // CHUNK_BYTES > before:
            with self._partial.grown:
                if self._partial.turn == turn:
                    self._partial.chunks = self._hasher.chunks

    def _load(self, data: memoryview, begin: int) -> bool:
        at = 0
        while at < len(data):
            count = self._partial.read(data[at:], begin + at)
            if not count:
                return False
            at += count
        return True
