"""The waiting line of each model, and the slots of its workers: one owner for both.

A ticket is a place in line; it becomes a lease of one slot. Everything here is synchronous: no
await stands between looking at a slot and taking it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from rbee.errors import RbeeError, Report
from rbee.policy import admission, routing
from rbee.queen.roster import LaneKey, Roster
from rbee.settings import Limits
from rbee.wire.control import WorkerView

_MEAN_WEIGHT = 0.2
"""Weight of the newest answer in the running mean of service times."""


@dataclass(slots=True)
class Lease:
    """One slot of one worker, held by one attempt."""

    worker: WorkerView
    lane: LaneKey
    since: float


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in line. `lease` is set once, with a slot or with an error."""

    lane: LaneKey
    entered_at: float
    tried: Collection[str]
    lease: asyncio.Future[Lease] = field(default_factory=asyncio.Future)


@dataclass(slots=True)
class Lane:
    """One model in one mode."""

    waiting: deque[Ticket] = field(default_factory=deque)
    mean_service_s: float = 0.0
    problem: Report | None = None
    """Why it cannot be served, remembered until something changes."""
    ready_since: float | None = None


class Lanes:
    """All lanes. `tell_busy(worker, count)` is called when a worker becomes busy or idle."""

    def __init__(
        self,
        roster: Roster,
        *,
        queue_limit: int,
        clock: Callable[[], float],
        tell_busy: Callable[[str, int], None],
    ) -> None:
        self._roster = roster
        self._queue_limit = queue_limit
        self._clock = clock
        self._tell_busy = tell_busy
        self._lanes: dict[LaneKey, Lane] = {}

    def follow(self, limits: Limits) -> None:
        """Other limits hold now, and what could not be served may be tried again."""
        self._queue_limit = limits.queue
        self.forget_problems()

    @property
    def queue_limit(self) -> int:
        return self._queue_limit

    def lane(self, key: LaneKey) -> Lane:
        return self._lanes.setdefault(key, Lane())

    def waiting(self) -> dict[str, int]:
        """Requests in line, by model."""
        counts: dict[str, int] = {}
        for (model, _), lane in self._lanes.items():
            counts[model] = counts.get(model, 0) + len(lane.waiting)
        return counts

    def enter(self, key: LaneKey, *, loading_slots: int, tried: Collection[str] = ()) -> Ticket:
        """Take a place in line. Raises QUEUE_FULL with a measured time."""
        lane = self.lane(key)
        door = self._door(key, lane, loading_slots)
        decision = admission.decide(door)
        if isinstance(decision, admission.Refuse):
            raise RbeeError(
                "QUEUE_FULL",
                model=key[0],
                waiting=len(lane.waiting),
                limit=self._queue_limit,
                retry_after_s=decision.retry_after_s,
            )
        ticket = Ticket(key, self._clock(), tried)
        lane.waiting.append(ticket)
        self.pump(key)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place; a slot that was just given is given back."""
        lane = self.lane(ticket.lane)
        if ticket in lane.waiting:
            lane.waiting.remove(ticket)
        if ticket.lease.done() and not ticket.lease.cancelled() and not ticket.lease.exception():
            self.release(ticket.lease.result(), served=False)
        else:
            ticket.lease.cancel()

    def position(self, ticket: Ticket) -> int:
        """1 is next; 0: not in line any more."""
        waiting = self.lane(ticket.lane).waiting
        return waiting.index(ticket) + 1 if ticket in waiting else 0

    def release(self, lease: Lease, *, served: bool) -> None:
        """Give a slot back; `served` answers teach the mean service time."""
        id_ = lease.worker.id
        lane = self.lane(lease.lane)
        now = self._clock()
        if served:
            took_s = now - lease.since
            mean = lane.mean_service_s
            lane.mean_service_s = took_s if not mean else mean + _MEAN_WEIGHT * (took_s - mean)
        count = max(0, self._roster.busy.get(id_, 0) - 1)
        self._roster.busy[id_] = count
        if count == 0:
            self._roster.idle_since[id_] = now
            self._tell_busy(id_, 0)
        self.pump(lease.lane)

    def pump(self, key: LaneKey) -> None:
        """Give free slots to those who wait, in order."""
        lane = self.lane(key)
        serving = self._roster.serving(key)
        if not serving:
            lane.ready_since = None
            return
        if lane.ready_since is None:
            lane.ready_since = self._clock()
        lane.problem = None
        while lane.waiting:
            ticket = lane.waiting[0]
            chosen = routing.choose(self._roster.candidates(key), tried=ticket.tried)
            if chosen is None:
                return
            lane.waiting.popleft()
            if ticket.lease.done():
                continue
            count = self._roster.busy.get(chosen, 0) + 1
            self._roster.busy[chosen] = count
            if count == 1:
                self._tell_busy(chosen, 1)
            worker = self._roster.workers[chosen]
            ticket.lease.set_result(Lease(worker, key, self._clock()))

    def waited_s(self, ticket: Ticket) -> float:
        """Time in line while a worker was ready: loading does not count."""
        ready_since = self.lane(ticket.lane).ready_since
        if ready_since is None:
            return 0.0
        return self._clock() - max(ticket.entered_at, ready_since)

    def fail(self, key: LaneKey, error: RbeeError) -> None:
        """Answer everybody in line with this error and remember it for those to come."""
        lane = self.lane(key)
        lane.problem = error.report
        while lane.waiting:
            ticket = lane.waiting.popleft()
            if not ticket.lease.done():
                ticket.lease.set_exception(RbeeError.from_report(error.report))

    def fail_all(self, error: RbeeError) -> None:
        """Answer everybody in every line; nothing is remembered."""
        for key, lane in self._lanes.items():
            self.fail(key, error)
            lane.problem = None

    def forget_problems(self) -> None:
        """Something changed: what could not be served may be tried again."""
        for lane in self._lanes.values():
            lane.problem = None

    def _door(self, key: LaneKey, lane: Lane, loading_slots: int) -> admission.Door:
        candidates = self._roster.candidates(key)
        return admission.Door(
            free_slots=sum(max(0, one.slots - one.busy) for one in candidates),
            ready_slots=sum(one.slots for one in candidates),
            loading_slots=loading_slots,
            waiting=len(lane.waiting),
            limit=self._queue_limit,
            mean_service_s=lane.mean_service_s,
        )
