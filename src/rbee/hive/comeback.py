"""Models come back to a device that rested: it is looked for, one load tries it beside the worker
that serves, and that one drains once the new one serves. A trial that fails changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rbee.errors import RbeeError
from rbee.hive import device_falls
from rbee.hive.device_links import NOT_OFFERED, TOO_LITTLE, pinned
from rbee.hive.wish_plan import Plan
from rbee.hive.worker_run import WorkerRun
from rbee.policy.devices import FAULTS
from rbee.policy.worker_life import State
from rbee.wire.control import ModelWish, Problem
from rbee.wire.lifeline import Listening

if TYPE_CHECKING:
    from rbee.hive.service import Hive
    from rbee.hive.worker_owner import WorkerOwner

_SERVING = frozenset({State.READY, State.BUSY})


class Comeback:
    """Owner of the trials."""

    def __init__(self, hive: Hive) -> None:
        self._hive = hive
        self._looking: asyncio.Task[None] | None = None
        self._cards: asyncio.Task[None] | None = None

    def look_at_cards(self) -> None:
        """Every few seconds, where the engine uses a GPU: how hot it is, what is free on it."""
        if self._hive.devices.has_gpu and (self._cards is None or self._cards.done()):
            self._cards = asyncio.create_task(self._look_at_cards())

    async def _look_at_cards(self) -> None:
        for device in await self._hive.devices.look():
            self._hive.reports.heat(device)

    def tick(self) -> None:
        """Every second: look for what is due, and begin what can be begun."""
        if self._hive.devices.due() and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())
        for owner in tuple(self._hive.roster.owners()):
            if owner.state in _SERVING and not owner.outgoing:
                self._return(owner)

    async def _look(self) -> None:
        for device, why in await self._hive.devices.look_for():
            self._hive.reports.device(f"{device} is there again after: {why}", "it is tried again")

    def _return(self, owner: WorkerOwner) -> None:
        """To the best device of those that it may have."""
        hive = self._hive
        barred = hive.devices.barred(owner.wish)
        for device in owner.run.better if owner.run else ():
            if device in barred or device not in hive.devices.offered:
                continue
            others = [one.trial for one in hive.roster.owners()]
            if device not in others or not hive.devices.on_trial(device, owner.wish):
                hive.roster.replace(owner, trial=device)
                return

    # --- what a start goes through ----------------------------------------------------------

    def refused(self, wish: ModelWish, error: RbeeError) -> None:
        """A device that a person insists on is not there: it is looked for from now on."""
        if error.code == "DEVICE_UNAVAILABLE":
            absent = str(error.facts["device"]).split(", ")
            self._hive.devices.failed(absent, wish, error.code, NOT_OFFERED)

    def trials(self, owner: WorkerOwner, plans: tuple[Plan, ...]) -> tuple[Plan, ...]:
        """A trial is for its device and nothing else. Raises DEVICE_UNAVAILABLE."""
        if not owner.trial:
            return plans
        found = tuple(one for one in plans if owner.trial in one.device.split(","))
        if not found:
            available = list(self._hive.devices.offered)
            raise RbeeError(
                "DEVICE_UNAVAILABLE",
                device=owner.trial,
                available=available,
                model=owner.wish.name,
            )
        return found

    def placed(self, owner: WorkerOwner, plan: Plan) -> None:
        """It has room; what it lacks is told, and what it would rather have is looked for."""
        hive, wish = self._hive, owner.wish
        for device in plan.better:
            if device not in hive.devices.barred(wish):
                offered = device in hive.devices.offered
                code = "GPU_OUT_OF_MEMORY" if offered else "DEVICE_UNAVAILABLE"
                hive.devices.failed((device,), wish, code, TOO_LITTLE if offered else NOT_OFFERED)
        if plan.degraded:
            error = RbeeError("MODEL_DEGRADED", model=wish.name, what=plan.degraded)
            hive.reports.told(error, "it is loaded like this", wish, owner.id)

    def used(self, wish: ModelWish, run: WorkerRun, said: Listening) -> RbeeError | None:
        """Whether the devices asked for are the devices in use; one that a person insists on must
        be, for another one its worker is shown as degraded."""
        missing = device_falls.unused(run, said)
        if not missing:
            self._less(wish, run, device_falls.left_out(run, said))
            return None
        error = device_falls.unavailable(wish, run, missing)
        if pinned(wish):
            return error
        used, names = ",".join(said.devices), ", ".join(missing)
        run.better += missing
        self._less(wish, run, f"device={used} ({names}: the engine puts nothing on it)")
        self._hive.devices.failed(missing, wish, error.code, "the engine puts nothing on it")
        return None

    def _less(self, wish: ModelWish, run: WorkerRun, what: str) -> None:
        """Once loaded it turns out to have less than was asked for; empty: it has all."""
        if not what:
            return
        run.degraded = "; ".join(filter(None, [run.degraded, what]))
        error = RbeeError("MODEL_DEGRADED", model=wish.name, what=what)
        self._hive.reports.told(error, "served like this", wish, run.id)

    def proved(self, wish: ModelWish, worker: str, devices: tuple[str, ...]) -> None:
        """A model serves there."""
        for device in self._hive.devices.serves(devices, wish):
            what = f"{device} serves again"
            self._hive.reports.device(what, f"{wish.name} runs on it", wish, worker)

    def failed(self, owner: WorkerOwner, problem: Problem) -> None:
        """The trial did not come to serve; whoever served goes on."""
        hive, device = self._hive, owner.trial
        code = problem.code if problem.code in FAULTS else "GPU_OUT_OF_MEMORY"
        after_s = hive.devices.failed((device,), owner.wish, code, problem.message)
        if owner.run is not None:
            stays = f"{owner.wish.name} stays where it is"
            done = f"{stays}; {device} is tried again in {after_s:.0f} s"
            hive.reports.happened(problem, done, "ok", owner.wish, owner.id)
        asyncio.get_running_loop().call_soon(hive.roster.give_back, owner)
