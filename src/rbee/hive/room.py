"""Memory of this machine, given to one load after the other, as `policy.room` decides.

Loads are let in in the order in which they asked: so nobody takes what was freed for another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rbee.edge import machine_memory
from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.policy import room
from rbee.policy.memory import Need
from rbee.policy.worker_life import State
from rbee.settings import KEEP_ALWAYS, Settings
from rbee.wire.control import ModelWish

if TYPE_CHECKING:
    from rbee.hive.wish_plan import Plan
    from rbee.hive.worker_owner import WorkerOwner

_LOOK_S = 0.1
"""Between looks at who has left; an idle worker is gone 0.1 s after it was told."""

_RESERVE_SHARE = 20
"""A twentieth of the memory stays free: below that new work is held back (`policy.admission`)."""

_LIVES = frozenset({State.STARTING, State.LOADING, State.READY, State.BUSY, State.DRAINING})


@dataclass(frozen=True, slots=True)
class Holding:
    """Memory that a worker has, or will have."""

    file: str
    need: Need


class Room:
    """Owner of the decision who may load. `unload` has a worker drained for another's sake."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        owners: Callable[[], Iterable[WorkerOwner]],
        unload: Callable[[WorkerOwner], None],
        log: Log,
    ) -> None:
        self._settings = settings
        self._owners = owners
        self._unload = unload
        self._log = log
        self._turn = asyncio.Lock()
        self._refused_ones: dict[tuple[str, str], Holding] = {}

    async def make(self, owner: WorkerOwner, plan: Plan, moved: Callable[[], None]) -> None:
        """Returns when it may load; from then on its memory counts as taken. `moved` is called when
        whom it waits for has changed. Raises MODEL_TOO_LARGE."""
        if not plan.in_memory:
            return
        holding = Holding(plan.stored.path, plan.need)
        try:
            async with self._turn:
                await self._wait(owner, holding, moved)
                owner.holds = holding
        finally:
            owner.waits_for = ()

    def fits_now(self, wish: ModelWish) -> bool:
        """Whether a wish that was refused would be let in now, maybe after others have left."""
        holding = self._refused_ones.get((wish.name, wish.mode))
        return holding is None or not isinstance(self._decide(None, holding, 0.0), room.Refuse)

    async def _wait(self, owner: WorkerOwner, holding: Holding, moved: Callable[[], None]) -> None:
        began = time.monotonic()
        while True:
            decision = self._decide(owner, holding, time.monotonic() - began)
            match decision:
                case room.Load():
                    self._refused_ones.pop((owner.wish.name, owner.wish.mode), None)
                    return
                case room.Refuse():
                    self._refused_ones[owner.wish.name, owner.wish.mode] = holding
                    raise self._refused(owner, decision)
                case room.Unload(ids=ids):
                    waits_for = self._send_away(ids, owner)
                case room.Wait(models=models):
                    waits_for = models
            if waits_for != owner.waits_for:
                owner.waits_for = waits_for
                moved()
            await asyncio.sleep(_LOOK_S)

    def _decide(
        self, owner: WorkerOwner | None, holding: Holding, waited_s: float
    ) -> room.Decision:
        settings = self._settings()
        now = machine_memory.look()
        budget = room.Budget(
            available_bytes=now.available_bytes,
            reserve_bytes=now.total_bytes // _RESERVE_SHARE,
            fixed_bytes=settings.memory_bytes,
        )
        tenants = [
            _tenant(one, one.holds) for one in self._owners() if one.holds and one is not owner
        ]
        return room.decide(holding.file, holding.need, tenants, budget, waited_s=waited_s)

    def _send_away(self, ids: tuple[str, ...], owner: WorkerOwner) -> tuple[str, ...]:
        gone = [one for one in self._owners() if one.id in ids]
        for one in gone:
            self._log.info("unloaded to make room", worker=one.id, wanted=owner.wish.name)
            self._unload(one)
        return tuple(dict.fromkeys(one.wish.name for one in gone))

    def _refused(self, owner: WorkerOwner, why: room.Refuse) -> RbeeError:
        holders = ", ".join(why.holders)
        return RbeeError(
            "MODEL_TOO_LARGE",
            model=owner.wish.name,
            needed_bytes=why.needed_bytes,
            free_bytes=why.free_bytes,
            holders=f"{holders} stays loaded and holds the rest"
            if holders
            else "no other model holds the rest",
        )


def _tenant(owner: WorkerOwner, holding: Holding | None) -> room.Tenant:
    assert holding is not None
    now = time.monotonic()
    run = owner.run
    return room.Tenant(
        id=owner.id,
        model=owner.wish.name,
        file=holding.file,
        need=holding.need,
        private_bytes=run.private_bytes if run else 0,
        lasting=owner.wish.keep_alive_s == KEEP_ALWAYS and not owner.outgoing,
        ready=owner.state in (State.READY, State.BUSY),
        busy=owner.state is State.BUSY,
        leaving=owner.state not in _LIVES or owner.state is State.DRAINING,
        idle_s=now - owner.idle_since,
        up_s=now - owner.ready_since,
        answers=owner.answers,
    )
