"""Which stored models their sources have in another version now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rbee.errors import RbeeError
from rbee.models.catalogue import entries
from rbee.models.manifest import Manifest
from rbee.models.store import Store
from rbee.wire.problem import to_problem
from rbee.wire.stored import Compared


@dataclass(frozen=True, slots=True)
class Now:
    """What a source has under a name."""

    digest: str = ""
    """`sha256:…`; empty: it does not say."""
    revision: str = ""


Look = Callable[[Manifest], Now | None]
"""Asks the source of a model; None: there is nobody to ask. Raises SOURCE_…."""


def compared(store: Store, look: Look) -> tuple[Compared, ...]:
    """Every stored model that has somebody to ask; one that cannot be asked now is told so, and
    the others go on."""
    found = []
    for manifest in store.all():
        try:
            now = look(manifest)
        except RbeeError as error:
            problem = to_problem(error.report)
            found.append(Compared(manifest.name, manifest.digest, problem=problem))
            continue
        if now is not None:
            found.append(_compared(manifest, now))
    return tuple(found)


def _compared(manifest: Manifest, now: Now) -> Compared:
    """A digest decides; a revision only where there is no digest."""
    outdated = (
        now.digest != manifest.digest
        if now.digest
        else bool(now.revision) and now.revision != manifest.revision
    )
    return Compared(manifest.name, manifest.digest, now.digest, now.revision, outdated)


def in_catalogue(manifest: Manifest) -> Now | None:
    """What this rbee's own catalogue says of a model that was pulled by its name."""
    entry = entries().get(manifest.ref)
    return Now(entry.digest) if entry is not None else None
