"""Memory of this machine and of its devices, given to one load after the other, as `policy.room`
decides.

Loads are let in in the order in which they asked: so nobody takes what was freed for another. What
does not fit, also after others have left, is tried with the next of its plans, which is less.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from rbee.edge import machine_memory
from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.hive.wish_plan import HERE, Plan
from rbee.policy import room
from rbee.policy.fitting import CONTEXT_GRAIN, Setting, largest_context
from rbee.policy.memory import Need
from rbee.policy.worker_life import State
from rbee.settings import AUTO_CTX, KEEP_ALWAYS, Settings
from rbee.wire.control import ModelWish

if TYPE_CHECKING:
    from rbee.hive.worker_owner import WorkerOwner

_LOOK_S = 0.1
"""Between looks at who has left; an idle worker is gone 0.1 s after it was told."""

_RESERVE_SHARE = 20
"""A twentieth of the memory stays free: below that new work is held back (`policy.admission`)."""

_SURE_SHARE = 0.95
"""Of the largest context that would fit now: what is free changes until somebody asks for it."""

_LIVES = frozenset({State.STARTING, State.LOADING, State.READY, State.BUSY, State.DRAINING})


@dataclass(frozen=True, slots=True)
class Holding:
    """Memory that a worker has, or will have."""

    file: str
    claims: Mapping[str, Need]
    """By place, as in its plan."""


class Devices(Protocol):
    """What the room asks about devices."""

    def free_bytes(self, device: str) -> int:
        """Of its memory, now; 0: not known."""
        ...

    def holders(self, device: str) -> str:
        """Who holds the rest, in words; empty: not known."""
        ...


class Room:
    """Owner of the decision who may load. `unload` has a worker drained for another's sake."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        owners: Callable[[], Iterable[WorkerOwner]],
        unload: Callable[[WorkerOwner], None],
        devices: Devices,
        log: Log,
    ) -> None:
        self._settings = settings
        self._owners = owners
        self._unload = unload
        self._devices = devices
        self._log = log
        self._turn = asyncio.Lock()
        self._refused_ones: dict[tuple[str, str], Holding] = {}

    async def make(
        self, owner: WorkerOwner, plans: Sequence[Plan], moved: Callable[[], None]
    ) -> Plan:
        """Returns when it may load, with the best plan that fits; from then on its memory counts as
        taken. `moved` is called when whom it waits for has changed. Raises MODEL_TOO_LARGE."""
        try:
            async with self._turn:
                chosen = await self._wait(owner, plans, moved)
                owner.holds = Holding(chosen.stored.path, chosen.claims)
                return chosen
        finally:
            owner.waits_for = ()

    def fits_now(self, wish: ModelWish) -> bool:
        """Whether a wish that was refused would be let in now, maybe after others have left."""
        holding = self._refused_ones.get((wish.name, wish.mode))
        return holding is None or not isinstance(self._decide(None, holding, 0.0), room.Refuse)

    async def _wait(
        self, owner: WorkerOwner, plans: Sequence[Plan], moved: Callable[[], None]
    ) -> Plan:
        began = time.monotonic()
        while True:
            plan, decision = self._best(owner, plans, time.monotonic() - began)
            match decision:
                case room.Load():
                    self._refused_ones.pop((owner.wish.name, owner.wish.mode), None)
                    return plan
                case room.Refuse():
                    holding = Holding(plan.stored.path, plan.claims)
                    self._refused_ones[owner.wish.name, owner.wish.mode] = holding
                    raise self._refused(owner, plan, decision)
                case room.Unload(ids=ids):
                    waits_for = self._send_away(ids, owner)
                case room.Wait(models=models):
                    waits_for = models
            if waits_for != owner.waits_for:
                owner.waits_for = waits_for
                moved()
            await asyncio.sleep(_LOOK_S)

    def _best(
        self, owner: WorkerOwner, plans: Sequence[Plan], waited_s: float
    ) -> tuple[Plan, room.Decision]:
        """The first plan that is not refused; the last one if all are."""
        for plan in plans:
            holding = Holding(plan.stored.path, plan.claims)
            decision = self._decide(owner, holding, waited_s)
            if not isinstance(decision, room.Refuse):
                break
        return plan, decision

    def _decide(
        self, owner: WorkerOwner | None, holding: Holding, waited_s: float
    ) -> room.Decision:
        others = [one for one in self._owners() if one.holds and one is not owner]
        decisions = []
        for place, needed in holding.claims.items():
            tenants = [_tenant(one, one.holds, place) for one in others if place in _places(one)]
            budget = self._budget(place)
            decisions.append(room.decide(holding.file, needed, tenants, budget, waited_s=waited_s))
        return room.together(decisions)

    def _budget(self, place: str) -> room.Budget:
        if place != HERE:
            return room.Budget(available_bytes=self._devices.free_bytes(place))
        now = machine_memory.look()
        return room.Budget(
            available_bytes=now.available_bytes,
            reserve_bytes=now.total_bytes // _RESERVE_SHARE,
            fixed_bytes=self._settings().memory_bytes,
        )

    def _send_away(self, ids: tuple[str, ...], owner: WorkerOwner) -> tuple[str, ...]:
        gone = [one for one in self._owners() if one.id in ids]
        for one in gone:
            self._log.info("unloaded to make room", worker=one.id, wanted=owner.wish.name)
            self._unload(one)
        return tuple(dict.fromkeys(one.wish.name for one in gone))

    def _refused(self, owner: WorkerOwner, plan: Plan, why: room.Refuse) -> RbeeError:
        holders = ", ".join(why.holders)
        told = [f"{holders} stays loaded and holds the rest"] if holders else []
        told += [words for place in plan.claims if (words := self._devices.holders(place))]
        largest = self._largest(owner, plan)
        return RbeeError(
            "MODEL_TOO_LARGE",
            model=owner.wish.name,
            needed_bytes=why.needed_bytes,
            free_bytes=why.free_bytes,
            holders="; ".join(told) or "no other model holds the rest",
            largest_ctx=largest.context_tokens,
            advice=_advice(owner.wish, largest),
        )

    def _largest(self, owner: WorkerOwner, plan: Plan) -> Setting:
        """The largest setting that would be let in on the same place now; a context of 0: none.
        With one slot, unless a person set their number."""
        slots = plan.slots if owner.wish.parallel else 1

        def fits(context_tokens: int) -> bool:
            setting = Setting(context_tokens, slots, plan.setting.layers)
            holding = Holding(plan.stored.path, plan.resized(setting))
            return not isinstance(self._decide(owner, holding, 0.0), room.Refuse)

        most = largest_context(fits, max(plan.context_tokens, AUTO_CTX))
        sure = int(most * _SURE_SHARE) // CONTEXT_GRAIN * CONTEXT_GRAIN or most
        return replace(plan.setting, context_tokens=sure, slots=slots)


def _advice(wish: ModelWish, largest: Setting) -> str:
    if not largest.context_tokens:
        return "no context of it fits: take a smaller model or quantisation"
    size = f"--ctx {largest.context_tokens} --parallel {largest.slots}"
    device = "" if wish.device == "auto" else f" --device {wish.device}"
    return f"rbee serve {wish.name} {size}{device}   is the largest that fits"


def _places(owner: WorkerOwner) -> Mapping[str, Need]:
    return owner.holds.claims if owner.holds else {}


def _tenant(owner: WorkerOwner, holding: Holding | None, place: str) -> room.Tenant:
    assert holding is not None
    now = time.monotonic()
    need = holding.claims[place]
    return room.Tenant(
        id=owner.id,
        model=owner.wish.name,
        file=holding.file,
        need=need,
        private_bytes=_held_bytes(owner, place, need),
        lasting=owner.wish.keep_alive_s == KEEP_ALWAYS and not owner.outgoing,
        ready=owner.state in (State.READY, State.BUSY),
        busy=owner.state is State.BUSY,
        leaving=owner.state not in _LIVES or owner.state is State.DRAINING,
        idle_s=now - owner.idle_since,
        up_s=now - owner.ready_since,
        answers=owner.answers,
    )


def _held_bytes(owner: WorkerOwner, place: str, need: Need) -> int:
    """What it has taken already. No device tells that of each for sure: what is loaded is there."""
    run = owner.run
    if run is None:
        return 0
    if place == HERE:
        return run.private_bytes
    return need.own_bytes if run.listening is not None else 0
