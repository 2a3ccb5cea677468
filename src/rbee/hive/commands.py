"""The queen's words, obeyed: each does one thing to the roster, or starts a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rbee.errors import RbeeError
from rbee.hive.worker_folder import last_lines
from rbee.policy.worker_life import Event
from rbee.wire import control
from rbee.wire.control import ModelWish

if TYPE_CHECKING:
    from rbee.hive.service import Hive
    from rbee.hive.worker_owner import WorkerOwner


class Commands:
    """What the queen may say to a hive."""

    def __init__(self, hive: Hive) -> None:
        self._hive = hive

    def obey(self, message: control.ToHive) -> None:
        """Do it, or start doing it; nothing is awaited."""
        hive = self._hive
        match message:
            case control.Welcome(wishes=wishes):
                self._welcome(wishes)
            case control.Want(wish=wish, fresh=fresh):
                if fresh:
                    hive.devices.forget(wish)
                hive.roster.want(wish, fresh=fresh)
            case control.Unwant(model=model, mode=mode):
                hive.roster.unwant(model, mode)
            case control.Busy(worker=worker, count=count):
                if owner := hive.roster.find(worker):
                    owner.heard_busy(count)
            case control.Suspect(worker=worker, problem=problem):
                if owner := hive.roster.find(worker):
                    owner.suspected(problem)
            case control.Ping():
                hive.link.say(control.Pong())
            case control.Leave(keep_workers=True):
                hive.hand_over()
            case control.Leave(drain_s=drain_s):
                hive.leave(drain_s)
            case control.CancelCall(call=call):
                hive.calls.cancel(call)
            case _:
                self._called(message)

    def _called(self, message: control.ToHive) -> None:
        start = self._hive.calls.start
        match message:
            case control.Logs(call=call, worker=worker, lines=lines):
                start(call, self._logs(worker, lines))
            case control.StopWorker(call=call, worker=worker):
                start(call, self._stop(worker))
            case control.DrainWorker(call=call, worker=worker):
                start(call, self._drain(worker))
            case _:
                self._hive.store.hear(message)

    def _welcome(self, wishes: tuple[ModelWish, ...]) -> None:
        for owner in self._hive.roster.owners():
            # A queen says anew what runs where; what another one had running ended with her.
            owner.heard_busy(0)
        self._hive.roster.welcome(wishes)

    async def _logs(self, worker: str, lines: int) -> list[str]:
        hive = self._hive
        safe = worker.isalnum()
        found = last_lines(hive.workers, hive.kept_logs, worker, lines) if safe else None
        if found is None:
            raise RbeeError("WORKER_NOT_FOUND", worker=worker)
        return found

    async def _stop(self, worker: str) -> str:
        owner = self._owner(worker)
        owner.tell(Event.STOP_NOW)
        await owner.gone.wait()
        return worker

    async def _drain(self, worker: str) -> str:
        owner = self._owner(worker)
        self._hive.roster.replace(owner)
        await owner.gone.wait()
        return worker

    def _owner(self, worker: str) -> WorkerOwner:
        owner = self._hive.roster.find(worker)
        if owner is None:
            raise RbeeError("WORKER_NOT_FOUND", worker=worker)
        return owner
