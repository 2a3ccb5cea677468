"""What the hive tells the queen of its workers: each change once, each fault with its outcome."""

from __future__ import annotations

import time
from collections.abc import Callable

from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.hive.device_falls import Fall
from rbee.hive.worker_owner import WorkerOwner
from rbee.hive.worker_run import Leak
from rbee.hive.worker_view import view_of
from rbee.policy import restart
from rbee.wire.control import (
    Device,
    FromHive,
    Happened,
    ModelWish,
    Problem,
    Unservable,
    WorkerChanged,
    WorkerGone,
    WorkerView,
)
from rbee.wire.problem import to_problem


class Reports:
    """Remembers what was told of each worker, so that only changes are told."""

    def __init__(self, hive_id: str, say: Callable[[FromHive], None], log: Log) -> None:
        self._hive_id = hive_id
        self._say = say
        self._log = log
        self._told: dict[str, WorkerView] = {}

    def view(self, owner: WorkerOwner) -> WorkerView:
        """For a `Hello`; counts as told."""
        view = self._told[owner.id] = view_of(owner, self._hive_id)
        return view

    def changed(self, owner: WorkerOwner) -> None:
        """Tell its view if it differs from what was told last."""
        before = self._told.get(owner.id)
        view = view_of(owner, self._hive_id)
        if before is not None and _same(before, view):
            return
        self._told[owner.id] = view
        self._say(WorkerChanged(view))
        if before is None or before.state != view.state:
            self._log.info(
                "worker", worker=view.id, model=view.model, state=view.state, pid=view.pid
            )

    def gone(self, owner: WorkerOwner, worker_id: str, problem: Problem | None) -> None:
        """A process of this owner is no more."""
        self._told.pop(worker_id, None)
        wish = owner.wish
        self._say(WorkerGone(worker_id, wish.name, wish.mode, problem))

    def died(self, owner: WorkerOwner, fall: Fall, verdict: restart.Verdict) -> None:
        """An unasked end: cause, what was done, outcome."""
        if fall.leaves:
            left = ", ".join(fall.leaves)
            done = f"{left} rests for {fall.rests_s:.0f} s; the model goes on with its next device"
            outcome = "ok"
        elif fall.rests_s:
            done, outcome = f"its device is tried again in {fall.rests_s:.0f} s", "open"
        elif isinstance(verdict, restart.Again):
            after = f" in {verdict.after_s:g} s" if verdict.after_s else " at once"
            done, outcome = f"started again{after}", "ok"
        elif isinstance(verdict, restart.Quarantine):
            done, outcome = f"quarantined after {verdict.crashes} crashes", "open"
        else:
            done, outcome = "not started again until something changes", "open"
        self.happened(fall.problem, done, outcome, owner.wish, owner.id)

    def device(self, what: str, done: str, wish: ModelWish | None = None, worker: str = "") -> None:
        """A device that rested is on its way back."""
        self._log.info(what, done=done, worker=worker)
        model = wish.name if wish else ""
        self._say(
            Happened(time.time(), "DEVICE_FAULTY", what, done, "ok", model=model, worker=worker)
        )

    def heat(self, device: Device) -> None:
        """A device became too hot, or is not any more."""
        error = RbeeError(
            "GPU_TOO_HOT",
            device=device.id,
            celsius=device.celsius,
            limit_celsius=device.hot_at,
        )
        done = "fewer requests may wait" if device.hot else "it is cool enough again"
        outcome = "open" if device.hot else "ok"
        self._log.warning(error.report.message, code=error.code, done=done, outcome=outcome)
        self._say(Happened(time.time(), error.code, error.report.message, done, outcome))

    def leaked(self, owner: WorkerOwner, leak: Leak) -> None:
        """Something of a dead process was left over."""
        error = RbeeError("RESOURCE_LEAK", what=leak.what)
        problem = Problem(code=error.code, message=error.report.message)
        done, outcome = ("ended", "ok") if leak.ended else ("tried to end it", "open")
        self.happened(problem, done, outcome, owner.wish, owner.id)

    def told(self, error: RbeeError, done: str, wish: ModelWish, worker: str) -> None:
        """Something that a person should know, and that needs nobody."""
        self.happened(to_problem(error.report), done, "ok", wish, worker)

    def unservable(self, wish: ModelWish, problem: Problem) -> None:
        """Whoever waits for this wish is to be answered with this."""
        self._say(Unservable(wish.name, wish.mode, problem))

    def happened(
        self, problem: Problem, done: str, outcome: str, wish: ModelWish, worker: str
    ) -> None:
        self._log.warning(
            problem.message, code=problem.code, worker=worker, done=done, outcome=outcome
        )
        self._say(
            Happened(
                at=time.time(),
                code=problem.code,
                what=problem.message,
                done=done,
                outcome=outcome,
                model=wish.name,
                worker=worker,
            )
        )


def _same(one: WorkerView, other: WorkerView) -> bool:
    """Equal but for the countdown to the next start, which everybody can count for himself."""
    if (one.retry_in_s > 0) != (other.retry_in_s > 0):
        return False
    fields = (name for name in one.__struct_fields__ if name != "retry_in_s")
    return all(getattr(one, name) == getattr(other, name) for name in fields)
