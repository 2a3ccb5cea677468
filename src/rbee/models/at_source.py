"""A stored model held against its sources: parts of its files, and which version they have now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

from rbee.edge.web import Web
from rbee.models.manifest import Manifest, Piece, digest_of
from rbee.models.outdated import Look, Now, in_catalogue
from rbee.models.sources import Found, Remote
from rbee.models.sources.resolving import resolve
from rbee.models.verify import RangeReader

Resolve = Callable[[str], Found | None]
"""What a source's name stands for there; None: it is no source that can be asked (a person's file).
Raises SOURCE_…."""


def resolver(web: Web) -> Resolve:
    """Each source is asked once."""
    return cache(lambda source: resolve(source, web))


def range_reader(
    known: Resolve, read_range: Callable[[Remote, int, int], Iterator[bytes]]
) -> RangeReader:
    """Parts of stored files from their sources."""

    def read(source: str, piece: Piece, begin: int, end: int) -> Iterator[bytes] | None:
        found = known(source)
        file = None if found is None or found.member else counterpart(found.files, piece)
        return None if file is None else read_range(file, begin, end)

    return read


def counterpart(files: Sequence[Remote], wanted: Piece | Remote) -> Remote | None:
    """The file of a source that is the wanted one, by its digest, else by its name and size.

    A file of another digest is another version: none of its parts fits.
    """
    for file in files:
        same_name = len(files) == 1 or file.name == wanted.name
        same_size = (
            0 in (file.size_bytes, wanted.size_bytes) or file.size_bytes == wanted.size_bytes
        )
        same_digest = file.digest == wanted.digest if file.digest and wanted.digest else None
        if same_digest or (same_digest is None and same_name and same_size):
            return file
    return None


def look_at(ask: Callable[[Manifest], Found | None]) -> Look:
    """What the source of a model has now, which `ask` asks; of a model that was pulled by a name of
    the catalogue, what the catalogue has."""

    def look(manifest: Manifest) -> Now | None:
        if (listed := in_catalogue(manifest)) is not None:
            return listed
        found = ask(manifest)
        if found is None or found.member:
            # A release of a wheel never changes under its number.
            return None
        digests = [file.digest for file in found.files]
        return Now(digest_of(digests) if all(digests) else "", found.revision)

    return look
