"""A stored model held against its sources: parts of its files, and which version they have now.

What resolves names and what moves bytes are given: `models.sources` and `models.fetch` fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Protocol, TypeVar

from rbee.models.manifest import Manifest, Piece, digest_of
from rbee.models.outdated import Look, Now
from rbee.models.verify import RangeReader


class RemoteFile(Protocol):
    """One file as a source has it now; `models.sources.Remote` is one."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def digest(self) -> str: ...

    @property
    def name(self) -> str: ...


File = TypeVar("File", bound=RemoteFile, covariant=True)


class Found(Protocol[File]):
    """What a name stands for at a source; `models.sources.Found` is one."""

    @property
    def files(self) -> Sequence[File]: ...

    @property
    def revision(self) -> str: ...

    @property
    def member(self) -> str: ...


AnyFile = TypeVar("AnyFile", bound=RemoteFile)
Resolve = Callable[[str], Found[AnyFile] | None]
"""What a source's name stands for there; None: it is no source that can be asked (a person's file).
Raises SOURCE_…."""


def range_reader(
    resolve: Resolve[AnyFile], read_range: Callable[[AnyFile, int, int], Iterator[bytes]]
) -> RangeReader:
    """Parts of stored files from their sources; each source is resolved once."""
    known = cache(resolve)

    def read(source: str, piece: Piece, begin: int, end: int) -> Iterator[bytes] | None:
        found = known(source)
        file = None if found is None or found.member else counterpart(found.files, piece)
        return None if file is None else read_range(file, begin, end)

    return read


def counterpart(files: Sequence[AnyFile], piece: Piece) -> AnyFile | None:
    """The remote file that a stored one came from, by its digest, else by its name and size.

    A file of another digest is another version: none of its parts fits.
    """
    for file in files:
        same_name = len(files) == 1 or file.name == piece.name
        same_size = file.size_bytes in (0, piece.size_bytes)
        if file.digest == piece.digest or (not file.digest and same_name and same_size):
            return file
    return None


def look_at(resolve: Resolve[AnyFile]) -> Look:
    """What the first source of a model has now."""

    def look(manifest: Manifest) -> Now | None:
        found = resolve(manifest.sources[0])
        if found is None or found.member:
            # A release of a wheel never changes under its number.
            return None
        digests = [file.digest for file in found.files]
        return Now(digest_of(digests) if all(digests) else "", found.revision)

    return look
