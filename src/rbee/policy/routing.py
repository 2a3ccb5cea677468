"""Which worker gets the next attempt: the least loaded that was not tried in vain."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A READY worker as routing sees it."""

    id: str
    slots: int
    busy: int
    degraded: bool = False


def choose(candidates: Iterable[Candidate], *, tried: Collection[str] = ()) -> str | None:
    """The id of the worker to use, or None if no slot is free.

    Least share of slots in use first, workers as asked before degraded ones, then by id, so that
    the choice is the same for the same facts. A worker that was tried is taken only if it is the
    last one.
    """
    free = [one for one in candidates if one.busy < one.slots]
    fresh = [one for one in free if one.id not in tried]
    best = min(
        fresh or free,
        key=lambda one: (one.degraded, one.busy / one.slots, one.id),
        default=None,
    )
    return None if best is None else best.id
