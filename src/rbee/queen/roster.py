"""What the queen knows: workers and models as the hive told them, and the answers that run on each.

The roster only remembers. While a hive is away its workers stay in it: models that are loaded go on
serving. For each lane it keeps a board of the workers that serve, so that a choice among a thousand
is no walk past a thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from types import MappingProxyType

import msgspec
from msgspec import structs

from rbee.policy.admission import Claim
from rbee.policy.routing import Board, Candidate
from rbee.wire.control import Device, EngineView, Hello, ModelView, WorkerView

SERVING = frozenset({"READY", "BUSY"})
COMING = frozenset({"STARTING", "LOADING"})

LaneKey = tuple[str, str]
"""Public name and mode: `("smollm2:135m", "chat")`."""


class Allowance(msgspec.Struct, frozen=True):
    """What a worker may have of its share."""

    share: float = 1.0
    """Of its slots; 0: nothing."""
    failed: int = 0
    """Attempts that failed on it a moment ago and still count as load."""


_ALL = Allowance()


@dataclass(slots=True)
class Lease:
    """One slot of one worker, held by one attempt."""

    worker: WorkerView
    lane: LaneKey
    since: float
    claim: Claim = field(default_factory=Claim)
    trial: bool = False
    """It tries whether a worker that was cut off is well again."""
    scored: bool = False
    """Its worker's health was told how it ended."""


class Roster:
    """Workers by id, stored models, and how many answers run on each worker."""

    def __init__(self) -> None:
        self.hive: Hello | None = None
        self.hive_connected = False
        self.models: tuple[ModelView, ...] = ()
        self.idle_since: dict[str, float] = {}
        self._workers: dict[str, WorkerView] = {}
        self._busy: dict[str, int] = {}
        self._used: dict[str, int] = {}
        self._uses = 0
        self._allowances: dict[str, Allowance] = {}
        self._lanes: dict[LaneKey, dict[str, None]] = {}
        self._boards: dict[LaneKey, Board] = {}

    @property
    def workers(self) -> Mapping[str, WorkerView]:
        """All that are known, by id; changed by `put` and `drop` alone."""
        return MappingProxyType(self._workers)

    def ours(self) -> list[WorkerView]:
        """Those that a hive runs; the others are attached."""
        return [one for one in self._workers.values() if not one.attached]

    @property
    def heat(self) -> str:
        """Devices of this machine that are too hot, in words."""
        devices = self.hive.devices if self.hive else ()
        return ", ".join(f"{one.id} is too hot ({one.celsius} °C)" for one in devices if one.hot)

    @property
    def busy(self) -> Mapping[str, int]:
        """Answers that run on each worker; changed by `set_busy` alone."""
        return MappingProxyType(self._busy)

    def meet(self, hello: Hello) -> None:
        """A hive has (re)connected and says all that it has."""
        self.hive = hello
        self.hive_connected = True
        self.models = hello.models
        named = {worker.id for worker in hello.workers}
        for id_ in [one.id for one in self.ours() if one.id not in named]:
            self.drop(id_, gone=True)
        for worker in hello.workers:
            self.put(worker)

    def learn_engine(self, engine: EngineView, devices: tuple[Device, ...]) -> None:
        """The hive knows its engine better than at its Hello."""
        if self.hive is not None:
            self.hive = structs.replace(self.hive, engine=engine, devices=devices)

    def put(self, worker: WorkerView) -> None:
        """A worker is as this says."""
        before = self._workers.get(worker.id)
        if before is not None and _lane(before) != _lane(worker):
            self._leave_lane(before)
        self._workers[worker.id] = worker
        self._lanes.setdefault(_lane(worker), {})[worker.id] = None
        self._seat(worker)

    def drop(self, id_: str, *, gone: bool = False) -> None:
        """It is not to be used any more; `gone`: nothing runs on it either."""
        worker = self._workers.pop(id_, None)
        if worker is not None:
            self._leave_lane(worker)
        if gone:
            self._busy.pop(id_, None)
            self._used.pop(id_, None)
            self._allowances.pop(id_, None)

    def set_busy(self, id_: str, count: int) -> None:
        """So many answers run on it now."""
        if count > self._busy.get(id_, 0):
            self._uses += 1
            self._used[id_] = self._uses
        worker = self._workers.get(id_)
        if worker is not None:
            self._busy[id_] = count
            self.board(_lane(worker)).recount(id_, busy=count, used=self._used.get(id_, 0))
        elif count:
            self._busy[id_] = count
        else:
            self._busy.pop(id_, None)

    def allow(self, id_: str, allowance: Allowance) -> None:
        """Its health lets it have so much."""
        if self._allowances.get(id_, _ALL) != allowance:
            self._allowances[id_] = allowance
            self._seat_known(id_)

    def board(self, lane: LaneKey) -> Board:
        """The serving workers of a lane, in the order in which they are taken."""
        board = self._boards.get(lane)
        if board is None:
            board = self._boards[lane] = Board()
        return board

    def serving(self, lane: LaneKey) -> list[WorkerView]:
        """Workers that can take an answer now."""
        return [one for one in self._of(lane) if one.state in SERVING]

    def coming(self, lane: LaneKey) -> list[WorkerView]:
        """Workers that are being started or loaded."""
        return [one for one in self._of(lane) if one.state in COMING]

    def has_hope(self, lane: LaneKey, *, ours: bool = False) -> bool:
        """Whether a worker of this lane serves, is coming, or will be started again by itself. An
        attached one that failed is in nobody's hand here; `ours`: no attached one counts."""
        return any(
            one.state in SERVING
            or one.state in COMING
            or (one.state == "FAILED" and one.retry_in_s > 0 and not one.attached)
            for one in self._of(lane)
            if not (ours and one.attached)
        )

    def _of(self, lane: LaneKey) -> Iterable[WorkerView]:
        return (self._workers[id_] for id_ in self._lanes.get(lane, ()))

    def _leave_lane(self, worker: WorkerView) -> None:
        lane = _lane(worker)
        self._lanes[lane].pop(worker.id, None)
        self.board(lane).drop(worker.id)

    def _seat_known(self, id_: str) -> None:
        worker = self._workers.get(id_)
        if worker is not None:
            self._seat(worker)

    def _seat(self, worker: WorkerView) -> None:
        board = self.board(_lane(worker))
        if worker.state not in SERVING:
            board.drop(worker.id)
            return
        slots = max(1, worker.slots)
        allowance = self._allowances.get(worker.id, _ALL)
        board.put(
            Candidate(
                worker.id,
                slots,
                self._busy.get(worker.id, 0),
                degraded=bool(worker.degraded),
                room=ceil(slots * allowance.share),
                failed=allowance.failed,
                used=self._used.get(worker.id, 0),
            )
        )


def _lane(worker: WorkerView) -> LaneKey:
    return (worker.model, worker.mode)
