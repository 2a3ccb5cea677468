"""Making room for a model: load it, have idle ones unloaded first, wait for somebody, or refuse.

Only what was loaded on demand is unloaded, and only while nobody is served by it; the one that was
used least recently goes first. What was swapped in stays for `STAY_S`, or until it has served those
it was loaded for and has rested for `REST_S`: so models that are asked for in turn do not throw one
another out. One that never falls idle may not keep others out for ever: after
`PATIENCE_S` it gets no new work, finishes what it does, and goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rbee.policy.memory import Need

STAY_S = 10.0
REST_S = 1.0
"""Whoever asks for one answer after the other asks again sooner than that."""
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Tenant:
    """A worker that lives, or is about to."""

    id: str
    model: str
    file: str
    need: Need
    private_bytes: int = 0
    """What it holds already that cannot be taken from it; the rest of its need is still to come."""
    lasting: bool = False
    """Somebody wishes it to stay loaded."""
    ready: bool = False
    busy: bool = False
    leaving: bool = False
    idle_s: float = 0.0
    up_s: float = 0.0
    """Since it became ready."""
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """It fits."""


@dataclass(frozen=True, slots=True)
class Unload:
    """Unload these, then look again."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """These hold what is needed, and will leave."""

    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """It would not fit if all that may go were gone."""

    needed_bytes: int
    free_bytes: int
    holders: tuple[str, ...]
    """Who holds the rest and stays."""


Decision = Load | Unload | Wait | Refuse


@dataclass(frozen=True, slots=True)
class Budget:
    """What workers may take. With `fixed_bytes` (a person's word) that is all they get, by their
    estimates; else what is available now counts, less what loaded workers will still take of it."""

    available_bytes: int
    reserve_bytes: int = 0
    fixed_bytes: int = 0


def decide(
    file: str, needed: Need, tenants: Sequence[Tenant], budget: Budget, *, waited_s: float
) -> Decision:
    """What to do for a worker of `file` that needs this much and has waited so long."""
    free = free_bytes(tenants, budget)
    missing = _missing(file, needed, tenants, free)
    if missing <= 0:
        return Load()
    movable = [one for one in tenants if not one.lasting or one.leaving]
    staying = [one for one in tenants if one not in movable]
    if _missing(file, needed, staying, free_bytes(staying, budget, gone=movable)) > 0:
        most = free_bytes(staying, budget, gone=movable)
        holders = tuple(dict.fromkeys(one.model for one in staying))
        return Refuse(needed.all_bytes, max(0, most), holders)
    leaving = [one for one in tenants if one.leaving]
    rest = [one for one in tenants if not one.leaving]
    if _missing(file, needed, rest, free_bytes(rest, budget, gone=leaving)) <= 0:
        return Wait(_models(leaving))
    chosen = _chosen(file, needed, rest, budget, leaving, waited_s)
    return Unload(chosen) if chosen else Wait(_models(movable))


def together(decisions: Sequence[Decision]) -> Decision:
    """Of a load that needs room in several places (memory and a GPU): all of them must have it."""
    refused = [one for one in decisions if isinstance(one, Refuse)]
    if refused:
        return max(refused, key=lambda one: one.needed_bytes - one.free_bytes)
    ids = [id_ for one in decisions if isinstance(one, Unload) for id_ in one.ids]
    if ids:
        return Unload(tuple(dict.fromkeys(ids)))
    models = [name for one in decisions if isinstance(one, Wait) for name in one.models]
    return Wait(tuple(dict.fromkeys(models))) if models else Load()


def free_bytes(tenants: Sequence[Tenant], budget: Budget, *, gone: Sequence[Tenant] = ()) -> int:
    """What is left for another one. `gone`: what these hold would be free too."""
    if budget.fixed_bytes:
        return budget.fixed_bytes - _sum(tenants)
    freed = sum(one.private_bytes for one in gone)
    to_come = _sum(tenants) - sum(min(one.private_bytes, one.need.own_bytes) for one in tenants)
    return budget.available_bytes + freed - to_come - budget.reserve_bytes


def _sum(tenants: Sequence[Tenant]) -> int:
    weights = {one.file: one.need.weights_bytes for one in tenants}
    return sum(weights.values()) + sum(one.need.own_bytes for one in tenants)


def _missing(file: str, needed: Need, tenants: Sequence[Tenant], free: int) -> int:
    shared = any(one.file == file for one in tenants)
    return (needed.own_bytes if shared else needed.all_bytes) - free


def _chosen(
    file: str,
    needed: Need,
    tenants: Sequence[Tenant],
    budget: Budget,
    leaving: Sequence[Tenant],
    waited_s: float,
) -> tuple[str, ...]:
    """As few as are enough, least recently used first; none if all that may go are too few."""
    queue = sorted((one for one in tenants if _may_go(one)), key=lambda one: -one.idle_s)
    if waited_s >= PATIENCE_S:
        queue += sorted((one for one in tenants if _may_end(one)), key=lambda one: -one.up_s)
    rest, gone, chosen = list(tenants), list(leaving), list[str]()
    for one in queue:
        rest.remove(one)
        gone.append(one)
        chosen.append(one.id)
        if _missing(file, needed, rest, free_bytes(rest, budget, gone=gone)) <= 0:
            return tuple(chosen)
    return ()


def _may_go(one: Tenant) -> bool:
    settled = one.up_s >= STAY_S or (one.answers > 0 and one.idle_s >= REST_S)
    return one.ready and not one.busy and not one.lasting and settled


def _may_end(one: Tenant) -> bool:
    """It serves without a pause: the turn of others comes when it has finished."""
    return one.ready and one.busy and not one.lasting and one.up_s >= STAY_S


def _models(tenants: Sequence[Tenant]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.model for one in tenants))
