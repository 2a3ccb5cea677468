"""What is known of a stored model: the truth of the store, one JSON file a model.

The shape has a number. A manifest of an earlier one is read as it is, and written in the new shape
at its next change; one of a newer rbee is left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from rbee.models.gguf import Facts
from rbee.wire.unreadable import UNREADABLE

SCHEMA = 2


class Piece(msgspec.Struct, frozen=True):
    """One file of a model; most models have one."""

    digest: str
    size_bytes: int
    identity: dict[str, int]
    """Of the file when its digest was last found right."""
    chunks: tuple[int, ...] = ()
    """crc32 of each 16 MiB, to find which of them rotted; empty: not taken yet."""
    name: str = ""
    """What the engine must see it as, where there are several."""


class Manifest(msgspec.Struct, frozen=True):
    """What is known of one stored model."""

    schema: int
    name: str
    ref: str
    sources: tuple[str, ...]
    """Where its bytes can be had again, best first."""
    digest: str
    """Of its file; of several, the sha256 over their digests, one a line."""
    digest_known: bool
    """Whether somebody else vouches for the digest; false: it was taken here, at import."""
    size_bytes: int
    added_at: float
    files: tuple[Piece, ...]
    facts: Facts
    revision: str = ""
    """What the source calls this version (a commit, a release); empty: it has none."""
    pinned: bool = False
    """A person said that it is never pruned."""
    superseded: tuple[str, ...] = ()
    """Digests of files that this name stood for before; each goes when no worker uses it."""


class _ManifestOne(msgspec.Struct, frozen=True):
    """Schema 1: one file, one source, no chunks."""

    schema: int
    name: str
    ref: str
    source: str
    digest: str
    size_bytes: int
    added_at: float
    identity: dict[str, int]
    facts: Facts


def decode(data: bytes) -> Manifest:
    """A manifest of this schema or an earlier one, which stays on disk as it is until the next
    write. Raises `msgspec.DecodeError`, also for a schema of a newer rbee."""
    schema = msgspec.json.decode(data, type=_Schema).schema
    if schema == SCHEMA:
        return msgspec.json.decode(data, type=Manifest)
    if schema != 1:
        raise msgspec.DecodeError(f"schema {schema} is not of this rbee")
    old = msgspec.json.decode(data, type=_ManifestOne)
    return Manifest(
        schema=SCHEMA,
        name=old.name,
        ref=old.ref,
        sources=(old.source,),
        digest=old.digest,
        digest_known=not old.source.startswith("file:"),
        size_bytes=old.size_bytes,
        added_at=old.added_at,
        files=(Piece(old.digest, old.size_bytes, old.identity),),
        facts=old.facts,
    )


def shape_of(data: bytes) -> int:
    """The number of its shape; 0: it has none that can be read."""
    try:
        return msgspec.json.decode(data, type=_Schema).schema
    except UNREADABLE:
        return 0


class _Schema(msgspec.Struct):
    schema: int


def digest_of_all(pieces: Sequence[Piece]) -> str:
    """What stands for a model of these files."""
    return digest_of([piece.digest for piece in pieces])


def digest_of(digests: Sequence[str]) -> str:
    """What stands for a model whose files have these digests, in order."""
    if len(digests) == 1:
        return digests[0]
    listed = "".join(digest + "\n" for digest in digests)
    return "sha256:" + hashlib.sha256(listed.encode()).hexdigest()
