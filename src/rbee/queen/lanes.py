"""The waiting line of each model, and the slots of its workers: one owner for both.

A ticket is a place in line; it becomes a lease of one slot. Everything here is synchronous: no
await stands between looking at a slot and taking it. The order of a line is `policy.fair_queue`,
its door `policy.admission`, the choice of a worker `policy.routing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from rbee.errors import RbeeError, Report
from rbee.policy import admission, pressure
from rbee.policy.admission import Claim
from rbee.policy.affinity import Warmth
from rbee.policy.fair_queue import FairQueue, Place
from rbee.policy.routing import Board
from rbee.queen.roster import LaneKey, Roster
from rbee.queen.roster import Lease as Lease
from rbee.queen.worker_health import WorkerHealth
from rbee.settings import Limits

_LOOK_AHEAD = 32
"""How many in line are looked at for a free slot that the first one cannot use: one that was tried
there in vain, or wants another version."""
_PROMISES_PER_PLACE = 10
_PROMISES_MIN = 100


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in line. `lease` is set once, with a slot or with an error."""

    lane: LaneKey
    entered_at: float
    tried: Collection[str]
    claim: Claim
    lease: asyncio.Future[Lease] = field(default_factory=asyncio.Future)
    place: Place[Ticket] | None = None


@dataclass(slots=True)
class Lane:
    """One model in one mode."""

    waiting: FairQueue[Ticket] = field(default_factory=FairQueue)
    pace: admission.Pace = field(default_factory=admission.Pace)
    promises: admission.Promises = field(default_factory=admission.Promises)
    problem: Report | None = None
    """Why it cannot be served, remembered until something changes."""
    ready_since: float | None = None


class Lanes:
    """All lanes. `tell_busy(worker, count)` is called when a worker becomes busy or idle."""

    def __init__(
        self,
        roster: Roster,
        health: WorkerHealth,
        warmth: Warmth,
        *,
        queue_limit: int,
        clock: Callable[[], float],
        tell_busy: Callable[[str, int], None],
    ) -> None:
        self._roster = roster
        self._health = health
        self._warmth = warmth
        self._full_limit = queue_limit
        self._bound = pressure.Bound(queue_limit)
        self._strain = ""
        self._clock = clock
        self._tell_busy = tell_busy
        self._lanes: dict[LaneKey, Lane] = {}

    def follow(self, limits: Limits) -> None:
        """Other limits hold now, and what could not be served may be tried again."""
        self._full_limit = limits.queue
        self._bound = pressure.Bound(limits.queue)
        self.forget_problems()

    @property
    def queue_limit(self) -> int:
        """Places in each line, for now."""
        return self._bound.limit

    def lane(self, key: LaneKey) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane()
        return lane

    def waiting(self) -> dict[str, int]:
        """Requests in line, by model."""
        counts: dict[str, int] = {}
        for (model, _), lane in self._lanes.items():
            counts[model] = counts.get(model, 0) + len(lane.waiting)
        return counts

    def with_waiting(self) -> list[LaneKey]:
        return [key for key, lane in self._lanes.items() if len(lane.waiting)]

    def enter(
        self,
        key: LaneKey,
        *,
        loading_slots: int,
        tried: Collection[str] = (),
        claim: Claim = Claim(),
        again: bool = False,
    ) -> Ticket:
        """Take a place in line; one that was served `again` in vain takes the first, and is never
        refused for want of room.

        Raises QUEUE_FULL with a time that is kept, DEADLINE_UNREACHABLE, or CIRCUIT_OPEN.
        """
        self.look()
        lane = self.lane(key)
        ticket = Ticket(key, self._clock(), tried, claim)
        if not again and self._served_at_once(ticket, lane):
            return ticket
        self._check_circuit(key)
        if again:
            ticket.place = lane.waiting.push_first(ticket)
        else:
            self._pass_door(key, lane, loading_slots, claim)
            ticket.place = lane.waiting.push(ticket, key=claim.key_id, priority=claim.priority)
        self.pump(key)
        return ticket

    def _served_at_once(self, ticket: Ticket, lane: Lane) -> bool:
        """While nobody waits, the door lets everybody in who finds a free slot (`admission.Run`):
        most requests need no place in line."""
        board = self._roster.board(ticket.lane)
        if len(lane.waiting) or not board.free:
            return False
        saved = self._warmth.saved(ticket.claim.conversation)
        chosen = board.choose(tried=ticket.tried, saved=saved)
        if chosen is None:
            return False
        lane.promises.kept(ticket.claim.mark, ticket.entered_at, beyond=False)
        self._is_ready(lane)
        ticket.lease.set_result(self._lease(ticket, chosen))
        return True

    def leave(self, ticket: Ticket) -> None:
        """Give up a place; a slot that was just given is given back."""
        if ticket.place is not None:
            self.lane(ticket.lane).waiting.remove(ticket.place)
        if ticket.lease.done() and not ticket.lease.cancelled() and not ticket.lease.exception():
            self.release(ticket.lease.result(), served=False)
        else:
            ticket.lease.cancel()

    def position(self, ticket: Ticket) -> int:
        """1 is next; 0: not in line any more."""
        place = ticket.place
        return 0 if place is None else self.lane(ticket.lane).waiting.position(place)

    def expected_wait_s(self, key: LaneKey, position: int) -> float | None:
        """About how long a request at this place waits; None: nothing is measured or ready yet."""
        turn_s = self._turn_s(key, self.lane(key))
        return None if turn_s is None else admission.expected_wait_s(position, turn_s)

    def waiting_facts(self, ticket: Ticket) -> Mapping[str, Any]:
        """What a waiting client is told."""
        lane = ticket.lane
        if not len(self._roster.board(lane)):
            loading = self._roster.coming(lane)
            share = max((one.progress for one in loading), default=0.0)
            facts = {"phase": "loading", "model": lane[0], "progress": round(share, 3)}
            waits_for = [name for one in loading for name in one.waits_for]
            return {**facts, "waits_for": waits_for} if waits_for else facts
        position = self.position(ticket)
        facts = {"phase": "queued", "model": lane[0], "position": position}
        wait_s = self.expected_wait_s(lane, position)
        return facts if wait_s is None else {**facts, "expected_wait_s": round(wait_s, 1)}

    def release(self, lease: Lease, *, served: bool) -> None:
        """Give a slot back; `served` answers teach how fast the line moves."""
        id_ = lease.worker.id
        lane = self.lane(lease.lane)
        now = self._clock()
        if not lease.scored:
            self._health.ended(lease, "CANCELLED")
        if served and not lease.claim.brief:
            slots, waited = self._roster.board(lease.lane).room, len(lane.waiting) > 0
            lane.pace.served(now - lease.since, now=now, slots=slots, waited=waited)
        count = max(0, self._roster.busy.get(id_, 0) - 1)
        self._roster.set_busy(id_, count)
        if count == 0:
            self._roster.idle_since[id_] = now
            self._tell_busy(id_, 0)
        self.pump(lease.lane)

    def look(self) -> None:
        """Do what time has brought: who was cut off may be tried again."""
        for key in self._health.look():
            self.pump(key)

    def pump(self, key: LaneKey) -> None:
        """Give free slots to those who wait, in order."""
        lane = self.lane(key)
        board = self._roster.board(key)
        if not len(board):
            lane.ready_since = None
            return
        self._is_ready(lane)
        if not len(lane.waiting):
            return
        while board.free and (found := self._next(lane, board)) is not None:
            ticket, chosen = found
            assert ticket.place is not None
            lane.waiting.take(ticket.place)
            if not ticket.lease.done():
                ticket.lease.set_result(self._lease(ticket, chosen))
        if len(lane.waiting):
            try:
                self._check_circuit(key)
            except RbeeError as error:
                _answer_all(lane, error.report)

    def _is_ready(self, lane: Lane) -> None:
        """A worker serves it."""
        if lane.ready_since is None:
            lane.ready_since = self._clock()
        lane.problem = None

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
        _answer_all(lane, error.report)

    def turn_away(self, key: LaneKey, error: RbeeError) -> None:
        """Answer everybody in line; nothing is remembered."""
        _answer_all(self.lane(key), error.report)

    def fail_all(self, error: RbeeError) -> None:
        """Answer everybody in every line; nothing is remembered."""
        for lane in self._lanes.values():
            _answer_all(lane, error.report)

    def forget_problems(self) -> None:
        """Something changed: what could not be served may be tried again."""
        for lane in self._lanes.values():
            lane.problem = None

    def press(self, memory: pressure.Memory) -> bool:
        """The machine's strain decides how long lines may be; True: they were cut just now."""
        before = self._bound
        self._strain = memory.strain
        self._bound = pressure.judge(before, memory, full=self._full_limit, now=self._clock())
        return self._bound.limit < before.limit

    def _next(self, lane: Lane, board: Board) -> tuple[Ticket, str] | None:
        """Who gets the next free slot, and of which worker."""
        for place in islice(lane.waiting, _LOOK_AHEAD):
            ticket = place.item
            saved = self._warmth.saved(ticket.claim.conversation)
            chosen = board.choose(tried=ticket.tried, saved=saved)
            if chosen is not None:
                return ticket, chosen
            if not ticket.tried:
                return None
        return None

    def _lease(self, ticket: Ticket, chosen: str) -> Lease:
        worker = self._roster.workers[chosen]
        trial = self._health.let_through(worker)
        count = self._roster.busy.get(chosen, 0) + 1
        self._roster.set_busy(chosen, count)
        if count == 1:
            self._tell_busy(chosen, 1)
        return Lease(worker, ticket.lane, self._clock(), ticket.claim, trial)

    def _pass_door(self, key: LaneKey, lane: Lane, loading_slots: int, claim: Claim) -> None:
        """Let a request in or raise why not; in a full line another key may have to make room."""
        now = self._clock()
        board = self._roster.board(key)
        door = admission.Door(
            free_slots=board.free,
            ready_slots=board.slots,
            loading_slots=loading_slots,
            waiting=len(lane.waiting),
            limit=self._bound.limit,
            position=lane.waiting.next_position(claim.key_id, claim.priority),
            held=lane.promises.held(self._bound.limit, now),
            promised=lane.promises.is_due(claim.mark, now),
            turn_s=self._turn_s(key, lane),
            left_s=None if claim.deadline_at is None else claim.deadline_at - now,
        )
        decision = admission.decide(door)
        if isinstance(decision, admission.TooLate):
            raise RbeeError(
                "DEADLINE_UNREACHABLE",
                model=key[0],
                deadline_s=claim.deadline_s,
                expected_s=round(decision.expected_s, 1),
                retry_after_s=max(1, round(decision.expected_s)),
            )
        if isinstance(decision, admission.Full):
            displaced = lane.waiting.displaced_by(claim.key_id)
            if displaced is None:
                raise self._full(key, lane, claim)
            lane.waiting.remove(displaced)
            ticket = displaced.item
            if not ticket.lease.done():
                ticket.lease.set_exception(self._full(key, lane, ticket.claim))
        lane.promises.kept(claim.mark, now, beyond=door.waiting >= door.limit)

    def _full(self, key: LaneKey, lane: Lane, claim: Claim) -> RbeeError:
        turn_s = self._turn_s(key, lane) or admission.ASSUMED_SERVICE_S
        limit = self._bound.limit
        retry_after_s = lane.promises.refuse(
            claim.mark,
            turn_s,
            measured=lane.pace.measured,
            most=max(_PROMISES_MIN, _PROMISES_PER_PLACE * limit),
            now=self._clock(),
        )
        because = f", for {self._strain}" if self._strain else ""
        return RbeeError(
            "QUEUE_FULL",
            model=key[0],
            waiting=len(lane.waiting),
            limit=limit,
            because=because,
            retry_after_s=retry_after_s,
        )

    def _check_circuit(self, key: LaneKey) -> None:
        """Raises CIRCUIT_OPEN if all that serve are cut off and nothing else is to be hoped for."""
        shut_for_s = self._health.shut_for_s(key)
        if shut_for_s is not None:
            workers = len(self._roster.board(key))
            retry_after_s = max(1, round(shut_for_s + 0.5))
            raise RbeeError(
                "CIRCUIT_OPEN", model=key[0], workers=workers, retry_after_s=retry_after_s
            )

    def _turn_s(self, key: LaneKey, lane: Lane) -> float | None:
        board = self._roster.board(key)
        return lane.pace.turn_s(board.room, board.usable) if board.usable else None


def _answer_all(lane: Lane, report: Report) -> None:
    for place in list(lane.waiting):
        lane.waiting.remove(place)
        if not place.item.lease.done():
            place.item.lease.set_exception(RbeeError.from_report(report))
