"""Which stored models their sources have in another version now."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rbee.errors import RbeeError
from rbee.models.catalogue import entries
from rbee.models.manifest import Manifest
from rbee.models.store import Store
from rbee.wire.problem import to_problem
from rbee.wire.stored import Compared

_SIDE_BY_SIDE = 8


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
    the others go on. They are asked side by side: one that is gone takes its time."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as asking:
        found = asking.map(lambda manifest: _asked(manifest, look), store.all())
        return tuple(one for one in found if one is not None)


def _asked(manifest: Manifest, look: Look) -> Compared | None:
    try:
        now = look(manifest)
    except RbeeError as error:
        problem = to_problem(error.report)
        return Compared(manifest.name, manifest.digest, problem=problem)
    return None if now is None else _compared(manifest, now)


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
