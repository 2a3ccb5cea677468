"""How well each worker does, and how much it may have: breakers, slow ones, beginning again.

One record per incarnation: a process that was started anew has a clean one. The judgements are
`policy.breaker` and `policy.outlier`; here they are told what happened, and the roster is told what
follows. Nothing here waits: what is to happen later stands in a list of alarms that is looked at
before each choice.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rbee.policy import breaker, outlier
from rbee.policy.affinity import Warmth
from rbee.policy.breaker import Breaker, State
from rbee.policy.outlier import SHARE, Slow, Standing, Times
from rbee.queen.roster import Allowance, LaneKey, Lease, Roster
from rbee.settings import Timing
from rbee.wire.control import WorkerView

_FIRST_SHARE = 0.25
_STEPS = 3
"""From a quarter of its slots to all of them."""
_JUDGE_EVERY_S = 2.0
_WEIGHT = 0.2

Tell = Callable[[str, WorkerView, str, str], None]
"""Takes a code, the worker, what happened and what was done."""


@dataclass(slots=True)
class _Record:
    """One incarnation."""

    worker: WorkerView
    breaker: Breaker = field(default_factory=Breaker)
    times: Times = field(default_factory=Times)
    standing: Standing = Standing.FAIR
    slow: Slow | None = None
    start_share: float = 1.0
    failed: int = 0
    allowed: tuple[float, int] = (1.0, 0)
    """What the roster was told last: all of its slots, before it was told anything."""
    until: float = 0.0
    """When it gets another chance, while its breaker is open or it is held back."""

    @property
    def lane(self) -> LaneKey:
        return (self.worker.model, self.worker.mode)

    @property
    def share(self) -> float:
        if self.breaker.state in (State.OPEN, State.TRIAL):
            return 0.0
        if self.breaker.state is State.HALF:
            return 1.0
        return min(self.start_share, SHARE[self.standing])


class _Alarm(NamedTuple):
    at: float
    number: int
    ring: Callable[[_Record], None]
    record: _Record


class WorkerHealth:
    """The records of all workers. `ended` is told at the end of each attempt."""

    def __init__(
        self,
        roster: Roster,
        timing: Timing,
        *,
        clock: Callable[[], float],
        warmth: Warmth,
        tell: Tell,
    ) -> None:
        self._roster = roster
        self._timing = timing
        self._clock = clock
        self._warmth = warmth
        self._tell = tell
        self._records: dict[str, _Record] = {}
        self._alarms: list[_Alarm] = []
        self._numbers = 0
        self._answer_s: dict[LaneKey, float] = {}
        self._judged_at: dict[LaneKey, float] = {}

    # --- what happens --------------------------------------------------------------------------

    def learn(self, worker: WorkerView) -> None:
        """The hive has told of a worker: one of another process begins with a clean record."""
        record = self._records.get(worker.id)
        if record is not None and record.worker.pid != worker.pid:
            self.forget(worker.id)

    def forget(self, id_: str) -> None:
        """It is gone."""
        self._warmth.forget(id_)
        if self._records.pop(id_, None) is not None:
            self._roster.allow(id_, Allowance())

    def let_through(self, worker: WorkerView) -> bool:
        """An attempt was given to it; True: it is the one that tries whether it is well again."""
        record = self._record(worker)
        if record.breaker.state is not State.HALF:
            return False
        record.breaker.tell(breaker.Event.LET_THROUGH)
        self._allow(record)
        return True

    def ended(
        self,
        lease: Lease,
        code: str | None,
        *,
        first_token_s: float | None = None,
        gap_s: float | None = None,
    ) -> None:
        """An attempt has ended, its stream included: well (`code` is None) or with this code. Only
        faults of the worker are held against it. To be told before the slot is given back."""
        now = self._clock()
        lease.scored = True
        worker = lease.worker
        present = self._roster.workers.get(worker.id)
        if present is None or present.pid != worker.pid:
            return
        record = self._record(worker)
        self._do(record, record.breaker.score(code, trial=lease.trial, now=now), code or "")
        if code is None or first_token_s is not None:
            self._warmth.read(worker.id, lease.claim.conversation)
        if code is not None and breaker.is_fault(code):
            self._remember_fault(record, lease.since, now)
        elif code is None and not lease.claim.brief:
            self._learn(record, now - lease.since)
            record.times.add(first_token_s, gap_s)
            self._judge(record.lane, now)
        self._allow(record)

    def look(self) -> set[LaneKey]:
        """Do what is due; gives the lanes in which something changed."""
        now = self._clock()
        changed: set[LaneKey] = set()
        while self._alarms and self._alarms[0].at <= now:
            alarm = heapq.heappop(self._alarms)
            record = alarm.record
            if self._records.get(record.worker.id) is record:
                alarm.ring(record)
                self._allow(record)
                changed.add(record.lane)
        return changed

    # --- what is known -------------------------------------------------------------------------

    def shut_for_s(self, lane: LaneKey) -> float | None:
        """Seconds until the first of a lane's workers may be tried again, if all that serve are cut
        off and none is coming; None: there is hope without that."""
        board = self._roster.board(lane)
        if not len(board) or board.usable:
            return None
        records = [self._record(worker) for worker in self._roster.serving(lane)]
        if any(one.breaker.state is not State.OPEN for one in records):
            return None
        if self._roster.coming(lane):
            return None
        return max(0.0, min(one.until for one in records) - self._clock())

    def view(self, worker: WorkerView) -> dict[str, Any]:
        """What `rbee ps --json` says of it."""
        record = self._records.get(worker.id)
        if record is None:
            return {"breaker": State.CLOSED, "share": 1.0, "retry_in_s": None, "slow": None}
        cut_off = record.breaker.state is State.OPEN or record.standing is Standing.NOTHING
        slow = record.slow
        return {
            "breaker": State.HALF if record.breaker.state is State.TRIAL else record.breaker.state,
            "share": record.share,
            "retry_in_s": round(max(0.0, record.until - self._clock()), 1) if cut_off else None,
            "slow": None
            if slow is None
            else {"what": slow.what, "own_s": slow.own_s, "peers_s": slow.peers_s},
        }

    # --- what follows --------------------------------------------------------------------------

    def _record(self, worker: WorkerView) -> _Record:
        record = self._records.get(worker.id)
        if record is None:
            record = self._records[worker.id] = _Record(worker)
        return record

    def _allow(self, record: _Record) -> None:
        now = (record.share, record.failed)
        if now != record.allowed:
            record.allowed = now
            self._roster.allow(record.worker.id, Allowance(*now))

    def _later(self, after_s: float, ring: Callable[[_Record], None], record: _Record) -> None:
        self._numbers += 1
        heapq.heappush(self._alarms, _Alarm(self._clock() + after_s, self._numbers, ring, record))

    def _do(self, record: _Record, effects: tuple[breaker.Effect, ...], code: str) -> None:
        for effect in effects:
            if effect is breaker.Effect.OPEN:
                open_s = self._rest_s(record)
                self._later(open_s, _half, record)
                what = f"{record.worker.id} failed too often, the last time with {code}"
                done = f"it gets nothing for {open_s:g} s, then one request to try it"
            else:
                what = f"{record.worker.id} is well again"
                done = self._begin_again(record)
            self._tell("CIRCUIT_OPEN", record.worker, what, done)

    def _rest_s(self, record: _Record) -> float:
        timing = self._timing
        others = record.worker.engine == "attached"
        rest_s = timing.breaker_open_s if others else timing.breaker_open_local_s
        record.until = self._clock() + rest_s
        return rest_s

    def _begin_again(self, record: _Record) -> str:
        """All at once if nobody else is there to serve, else slowly."""
        if self._roster.board(record.lane).usable == 0:
            return "it gets work again"
        record.start_share = _FIRST_SHARE
        self._later(self._timing.slow_start_s / _STEPS, self._step, record)
        return f"it gets work again, all of its share after {self._timing.slow_start_s:g} s"

    def _step(self, record: _Record) -> None:
        record.start_share = min(1.0, record.start_share + (1 - _FIRST_SHARE) / _STEPS)
        if record.start_share < 1:
            self._later(self._timing.slow_start_s / _STEPS, self._step, record)

    def _remember_fault(self, record: _Record, since: float, now: float) -> None:
        """It counts as load for as long as an answer would have taken."""
        left_s = since + self._answer_s.get(record.lane, 0.0) - now
        if left_s > 0:
            record.failed += 1
            self._later(left_s, _fault_over, record)

    def _learn(self, record: _Record, took_s: float) -> None:
        mean = self._answer_s.get(record.lane)
        self._answer_s[record.lane] = took_s if mean is None else mean + _WEIGHT * (took_s - mean)

    def _judge(self, lane: LaneKey, now: float) -> None:
        """Compare the workers of a lane with one another, not more often than it can matter."""
        if now - self._judged_at.get(lane, float("-inf")) < _JUDGE_EVERY_S:
            return
        self._judged_at[lane] = now
        records = [self._record(worker) for worker in self._roster.serving(lane)]
        times = {one.worker.id: one.times for one in records}
        held_back = sum(one.share < 1 for one in records)
        for id_, slow in outlier.find(times).items():
            record = self._records[id_]
            if slow is None:
                self._stand(record, outlier.Event.FAIR, None)
            elif record.standing is not Standing.FAIR:
                self._stand(record, outlier.Event.SLOW, slow)
            elif outlier.may_hold_back(held_back, len(records)):
                held_back += 1
                self._stand(record, outlier.Event.SLOW, slow)

    def _stand(self, record: _Record, event: outlier.Event, slow: Slow | None) -> None:
        before, record.standing = record.standing, outlier.TABLE[record.standing, event]
        if record.standing is before:
            return
        record.slow = slow
        record.times.clear()
        worker = record.worker
        if slow is None:
            what, done = f"{worker.id} is as fast as its peers again", "it gets its share again"
        else:
            own_s, peers_s = slow.own_s, slow.peers_s
            what = f"{worker.id}: {slow.what} after {own_s:.2f} s, its peers {peers_s:.2f} s"
            done = "it gets a quarter of its share"
        if record.standing is Standing.NOTHING:
            rest_s = self._rest_s(record)
            self._later(rest_s, _rested, record)
            done = f"it gets nothing for {rest_s:g} s, then a quarter of its share"
        self._tell("WORKER_SLOW", worker, what, done)
        self._allow(record)


def _half(record: _Record) -> None:
    record.breaker.tell(breaker.Event.WAITED)


def _fault_over(record: _Record) -> None:
    record.failed -= 1


def _rested(record: _Record) -> None:
    record.standing = outlier.TABLE[record.standing, outlier.Event.WAITED]
