"""Where a model is to come from: its sources, best first, and the digest that it must have.

A name of the catalogue has the catalogue's sources. A source that a block of the TOML lists beside
others has all of them. Any other source stands for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rbee.errors import RbeeError
from rbee.models import names
from rbee.models.catalogue import entries
from rbee.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Origin:
    """What is to be brought, and from where."""

    name: str
    """The public name that it gets if no other model has it."""
    ref: str
    """What a person called it, without the digest: under that it is found again."""
    sources: tuple[str, ...]
    digest: str = ""
    """`sha256:…` that it must have; empty: any."""
    size_bytes: int = 0
    """0: not known before a source is asked."""
    moves: bool = True
    """Whether the same name may stand for other bytes tomorrow."""

    @property
    def told(self) -> str:
        """How errors name it: so that it can be pasted behind `rbee models pull`, but for an
        address, which may hold a key."""
        return self.name if self.ref.startswith("http") else self.ref


RemoteName = names.Hf | names.Ollama | names.Wheel | names.Https
"""What somebody else has."""


def origin_of(name: names.Plain | RemoteName, blocks: Mapping[str, ModelSettings]) -> Origin:
    """Raises MODEL_NOT_FOUND for a plain name that no catalogue has, with the nearest ones."""
    ref = names.unpinned(name).ref
    if isinstance(name, names.Plain):
        return _of_catalogue(name, ref)
    together = [name, *_beside(ref, blocks)]
    digests = {one.digest for one in together} - {""}
    if len(digests) > 1:
        problem = "its sources are given different digests"
        raise RbeeError("MODEL_NAME_INVALID", model=name.ref[:200], problem=problem)
    digest = digests.pop() if digests else ""
    sources = tuple(dict.fromkeys(names.unpinned(one).ref for one in together))
    fixed = isinstance(name, names.Wheel) or bool(digest)
    return Origin(name.name, ref, sources, digest, moves=not fixed)


def _of_catalogue(name: names.Plain, ref: str) -> Origin:
    entry = entries().get(ref)
    if entry is None:
        raise RbeeError("MODEL_NOT_FOUND", model=ref, nearest=names.nearest(ref, entries()))
    if name.digest and name.digest != entry.digest:
        raise RbeeError("MODEL_VERSION_MISMATCH", model=ref, wanted=name.digest, found=entry.digest)
    return Origin(ref, ref, entry.sources, entry.digest, entry.size_bytes, moves=False)


def _beside(ref: str, blocks: Mapping[str, ModelSettings]) -> Iterator[RemoteName]:
    """All that can be asked of the block that lists this source."""
    for block in blocks.values():
        listed = list(_parsed(block.source))
        if any(names.unpinned(one).ref == ref for one in listed):
            yield from listed
            return


def _parsed(sources: Iterable[str]) -> Iterator[RemoteName]:
    """A name of the catalogue stands for its sources; a person's file is asked by nobody."""
    for source in sources:
        try:
            name = names.parse(source)
        except RbeeError:
            continue
        if isinstance(name, names.Plain) and (entry := entries().get(name.name)) is not None:
            for one in _parsed(entry.sources):
                yield replace(one, digest=entry.digest)
        elif not isinstance(name, names.Plain | names.File):
            yield name
