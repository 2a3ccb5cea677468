"""What an owner of a worker needs of its hive, and what it reports to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rbee.errors import RbeeError
from rbee.hive.device_falls import Fall
from rbee.hive.wish_plan import Plan
from rbee.hive.worker_run import Leak, WorkerRun
from rbee.policy import restart
from rbee.settings import Settings
from rbee.wire.control import ModelWish, Problem
from rbee.wire.lifeline import Listening

if TYPE_CHECKING:
    from rbee.hive.worker_owner import WorkerOwner


class Surroundings(Protocol):
    """The hive, as its owners see it."""

    hive_id: str
    workers: Path
    kept_logs: Path
    lifeline: Path

    @property
    def settings(self) -> Settings:
        """As they are now."""
        ...

    def next_port(self) -> int:
        """For the next process; 0: any. Raises PORT_TAKEN."""
        ...

    def next_worker_id(self) -> str: ...
    async def prepare(self, wish: ModelWish) -> tuple[Plan, ...]:
        """What it may be told, the best first. Raises RbeeError when it cannot be started."""
        ...

    async def make_room(self, owner: WorkerOwner, plans: tuple[Plan, ...]) -> Plan:
        """Returns when the memory of one is there, and counted as its own. Raises MODEL_TOO_LARGE,
        DEVICE_UNAVAILABLE."""
        ...

    def fall(self, owner: WorkerOwner, problem: Problem) -> Fall:
        """What an end with this cause says against its devices."""
        ...

    def restart_pause_s(self) -> float:
        """How long the next unasked start must wait, for all that start again together."""
        ...

    async def judge(
        self, wish: ModelWish, run: WorkerRun, said: Listening, moved: Callable[[], None]
    ) -> RbeeError | None:
        """Why a worker that has loaded may not serve; `moved` is called while that takes time."""
        ...

    async def probe(self, port: int, within_s: float) -> bool:
        """Whether the engine at this port answers in time."""
        ...

    def changed(self, owner: WorkerOwner) -> None: ...
    def replaced(self, owner: WorkerOwner, old_id: str, problem: Problem | None) -> None: ...
    def died(self, owner: WorkerOwner, fall: Fall, verdict: restart.Verdict) -> None: ...
    async def held(self, run: WorkerRun) -> list[Leak]:
        """Memory of devices that drivers say a dead process still has."""
        ...

    def leaked(self, owner: WorkerOwner, leak: Leak) -> None: ...
    def finished(self, owner: WorkerOwner) -> None: ...
    def queen_listens(self) -> bool: ...
