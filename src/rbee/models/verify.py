"""A scrub: every byte of a stored model read again, and what rotted fetched again, chunk by chunk.

The crc32 of each chunk says where the rot sits; that a file is right is said by the sha256 of the
whole alone. Only the store's own files are written to: a person's linked file is left as it is.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rbee.edge.disk import translated
from rbee.errors import RbeeError
from rbee.models.hashing import CHUNK_BYTES, Hashed, Progress, hash_file
from rbee.models.manifest import Manifest, Piece
from rbee.models.store import Store, piece_of

RangeReader = Callable[[str, Piece, int, int], Iterator[bytes] | None]
"""`(source, piece, begin, end)`: those bytes of that file as the source has them; None: this source
cannot give parts of it (a wheel is compressed). Raises SOURCE_…, DOWNLOAD_STALLED."""


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What a scrub of one model found, and what it did about it."""

    manifest: Manifest
    chunks: int
    """Of 16 MiB each, looked at."""
    rotted: int = 0
    """Of those, damaged; all are mended now."""
    fetched_bytes: int = 0


def scrub(store: Store, manifest: Manifest, progress: Progress, read: RangeReader) -> Scrubbed:
    """Hash all files of a model; mend what rotted, if one of its sources gives parts of files.

    Raises MODEL_CORRUPTED if it cannot be mended (nothing is marked as right then, so that it is
    hashed again before anybody loads it), MODEL_FILE_MISSING, DISK_….
    """
    pieces: list[Piece] = []
    rotted = fetched_bytes = 0
    for piece in manifest.files:
        before = store.identity(manifest, piece)
        hashed = hash_file(store.blob(piece.digest), before.size_bytes, progress)
        if hashed.digest != piece.digest:
            _distrust(store, manifest, piece)
            damage = _Damage(store, manifest, piece, rotted_chunks(piece, hashed))
            rotted += len(damage.chunks)
            fetched_bytes += damage.mend(read, progress)
            before = store.identity(manifest, piece)
            hashed = hash_file(store.blob(piece.digest), before.size_bytes, progress)
            if hashed.digest != piece.digest:
                raise damage.hopeless("its sha256 is still wrong after all chunks were mended")
        pieces.append(piece_of(hashed, before, piece.name))
    good = msgspec.structs.replace(manifest, files=tuple(pieces))
    _note(store, good)
    return Scrubbed(good, sum(len(one.chunks) for one in pieces), rotted, fetched_bytes)


def rotted_chunks(piece: Piece, found: Hashed) -> tuple[int, ...]:
    """Numbers of the chunks that are not as they were stored; of a file without a table, none."""
    return tuple(
        number
        for number, crc in enumerate(piece.chunks)
        if number >= len(found.chunks) or found.chunks[number] != crc
    )


def _distrust(store: Store, manifest: Manifest, piece: Piece) -> None:
    """Forget that this file was ever right: rot changes neither its size nor its time."""
    files = tuple(
        msgspec.structs.replace(one, identity={}) if one.digest == piece.digest else one
        for one in manifest.files
    )
    _note(store, msgspec.structs.replace(manifest, files=files))


def _note(store: Store, manifest: Manifest) -> None:
    """Write it down where the disk lets us: on one that is full or read-only, a whole file is
    served all the same, and hashed again at its next load."""
    try:
        store.write(manifest)
    except RbeeError as error:
        if error.code not in ("DISK_FULL", "DISK_READ_ONLY", "DISK_PERMISSION"):
            raise


@dataclass(frozen=True, slots=True)
class _Damage:
    """One damaged file."""

    store: Store
    manifest: Manifest
    piece: Piece
    chunks: Sequence[int]

    def mend(self, read: RangeReader, progress: Progress) -> int:
        """Write the damaged chunks anew; gives the bytes that were fetched for it."""
        blob = self.store.blob(self.piece.digest)
        if not is_own(blob):
            raise self.hopeless("the file that it is linked to has changed")
        size_bytes = self.piece.size_bytes
        ranges = [
            (number, number * CHUNK_BYTES, min(size_bytes, (number + 1) * CHUNK_BYTES))
            for number in self.chunks
        ]
        total_bytes = sum(end - begin for _, begin, end in ranges)
        done_bytes = 0
        for number, begin, end in ranges:
            progress("repairing", done_bytes, total_bytes)
            data = self._fetched(read, number, begin, end)
            try:
                _write_at(blob, data, begin)
            except OSError as exc:
                raise translated(exc, "write to", blob, len(data)) from exc
            done_bytes += len(data)
            progress("repairing", done_bytes, total_bytes)
        try:
            os.truncate(blob, size_bytes)
        except OSError as exc:
            raise translated(exc, "write to", blob) from exc
        return done_bytes

    def _fetched(self, read: RangeReader, number: int, begin: int, end: int) -> bytes:
        """A chunk as it was stored, from the first source that still has it so."""
        why = "none of its sources gives parts of a file"
        for source in self.manifest.sources:
            try:
                blocks = read(source, self.piece, begin, end)
                if blocks is None:
                    continue
                data = b"".join(blocks)
            except RbeeError as error:
                why = error.report.message
                continue
            if len(data) == end - begin and zlib.crc32(data) == self.piece.chunks[number]:
                return data
            why = "its source has other bytes now"
        raise self.hopeless(why)

    def hopeless(self, why: str) -> RbeeError:
        count = len(self.chunks)
        where = f"{count} of {len(self.piece.chunks)} chunks rotted" if count else "it changed"
        return RbeeError(
            "MODEL_CORRUPTED",
            model=self.manifest.name,
            problem=f"its sha256 is not the one that it was stored with ({where}; {why})",
            expected=self.piece.digest,
        )


def is_own(blob: Path) -> bool:
    """Whether a file belongs to the store alone: no link to another one, and no other name."""
    return not blob.is_symlink() and blob.stat().st_nlink == 1


def _write_at(path: Path, data: bytes, begin: int) -> None:
    """In place: a worker that maps this file sees the right bytes again."""
    with path.open("r+b", buffering=0) as file:
        file.seek(begin)
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
