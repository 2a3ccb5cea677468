"""One pass over the bytes of a file feeds every checksum that is kept of it.

The sha256 of the whole decides whether a file is right. The crc32 of each 16 MiB chunk only tells
where rot sits (so that one chunk is fetched again, not the file): it is no proof of anything.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rbee.edge.disk import translated
from rbee.errors import RbeeError

CHUNK_BYTES = 16 << 20
_READ_BYTES = 1 << 20

Progress = Callable[[str, int, int], None]
"""Phase, bytes done, bytes in all (0: not known)."""

Trouble = Callable[[RbeeError, str], None]
"""What went wrong on the way, and what was done about it: the act goes on."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """`digest` is `sha256:…`; `chunks` the crc32 of each CHUNK_BYTES of the file, in order."""

    digest: str
    chunks: tuple[int, ...]
    size_bytes: int


class Hasher:
    """Fed with a file's bytes in order."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._crc = 0
        self._in_chunk = 0
        self._chunks: list[int] = []
        self.done_bytes = 0

    def update(self, data: bytes | memoryview) -> None:
        """The next bytes, as many as there are."""
        self._sha.update(data)
        left = memoryview(data)
        while left:
            taken = left[: CHUNK_BYTES - self._in_chunk]
            self._crc = zlib.crc32(taken, self._crc)
            self._in_chunk += len(taken)
            self.done_bytes += len(taken)
            if self._in_chunk == CHUNK_BYTES:
                self._close_chunk()
            left = left[len(taken) :]

    @property
    def chunks(self) -> tuple[int, ...]:
        """Of the whole chunks so far."""
        return tuple(self._chunks)

    def end(self) -> Hashed:
        """All checksums; nothing may be fed after it."""
        if self._in_chunk:
            self._close_chunk()
        return Hashed("sha256:" + self._sha.hexdigest(), tuple(self._chunks), self.done_bytes)

    def _close_chunk(self) -> None:
        self._chunks.append(self._crc)
        self._crc = self._in_chunk = 0


def hash_file(path: Path, size_bytes: int, progress: Progress) -> Hashed:
    """Read a file once, in order. Raises DISK_… if it cannot be read."""
    hasher = Hasher()
    try:
        with path.open("rb", buffering=0) as file:
            for block in blocks(file.read):
                hasher.update(block)
                progress("verifying", hasher.done_bytes, size_bytes)
    except OSError as exc:
        raise translated(exc, "read", path) from exc
    return hasher.end()


def blocks(read: Callable[[int], bytes | None]) -> Iterator[bytes]:
    """What `read` gives, 1 MiB at a time, until it gives nothing."""
    while block := read(_READ_BYTES):
        yield block
