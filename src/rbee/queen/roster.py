"""What the queen knows: workers and models as the hive told them, and the answers that run on each.

The roster only remembers. While a hive is away its workers stay in it: models that are loaded go on
serving.
"""

from __future__ import annotations

from msgspec import structs

from rbee.policy.routing import Candidate
from rbee.wire.control import Device, EngineView, Hello, ModelView, WorkerView

SERVING = frozenset({"READY", "BUSY"})
COMING = frozenset({"STARTING", "LOADING"})

LaneKey = tuple[str, str]
"""Public name and mode: `("smollm2:135m", "chat")`."""


class Roster:
    """Workers by id, stored models, and how many answers run on each worker."""

    def __init__(self) -> None:
        self.hive: Hello | None = None
        self.hive_connected = False
        self.workers: dict[str, WorkerView] = {}
        self.models: tuple[ModelView, ...] = ()
        self.busy: dict[str, int] = {}
        self.idle_since: dict[str, float] = {}

    def meet(self, hello: Hello) -> None:
        """A hive has (re)connected and says all that it has."""
        self.hive = hello
        self.hive_connected = True
        self.models = hello.models
        self.workers = {worker.id: worker for worker in hello.workers}
        self.busy = {id_: count for id_, count in self.busy.items() if id_ in self.workers}

    def learn_engine(self, engine: EngineView, devices: tuple[Device, ...]) -> None:
        """The hive knows its engine better than at its Hello."""
        if self.hive is not None:
            self.hive = structs.replace(self.hive, engine=engine, devices=devices)

    def serving(self, lane: LaneKey) -> list[WorkerView]:
        """Workers that can take an answer now."""
        return [one for one in self._of(lane) if one.state in SERVING]

    def coming(self, lane: LaneKey) -> list[WorkerView]:
        """Workers that are being started or loaded."""
        return [one for one in self._of(lane) if one.state in COMING]

    def has_hope(self, lane: LaneKey) -> bool:
        """Whether a worker of this lane serves, is coming, or will be started again by itself."""
        return any(
            one.state in SERVING
            or one.state in COMING
            or (one.state == "FAILED" and one.retry_in_s > 0)
            for one in self._of(lane)
        )

    def candidates(self, lane: LaneKey) -> list[Candidate]:
        """The serving workers as routing sees them."""
        return [
            Candidate(one.id, max(1, one.slots), self.busy.get(one.id, 0), bool(one.degraded))
            for one in self.serving(lane)
        ]

    def _of(self, lane: LaneKey) -> list[WorkerView]:
        return [one for one in self.workers.values() if (one.model, one.mode) == lane]
