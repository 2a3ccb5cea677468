"""A machine on which no process can be started: owners and rosters without workers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rbee.errors import RbeeError
from rbee.hive.device_falls import Fall
from rbee.hive.roster import Roster
from rbee.hive.wish_plan import Plan
from rbee.hive.worker_owner import WorkerOwner
from rbee.hive.worker_run import Leak
from rbee.policy import restart
from rbee.settings import Settings, Timing
from rbee.wire.control import ModelWish, Problem


class NoMachine:
    """Surroundings of owners: `prepare` waits for ever, or raises what the test put there."""

    def __init__(self, folder: Path, **times: float) -> None:
        self.hive_id = "here"
        self.settings = Settings(home=str(folder), timing=Timing(restart_first_s=0.01, **times))
        self.workers = folder / "workers"
        self.kept_logs = folder / "kept"
        self.lifeline = folder / "hive.sock"
        self.refusal: RbeeError | None = None
        self.prepared = 0
        self.pause_s = 0.0
        """For the next unasked start, because of others."""
        self.verdict = asyncio.Event()
        self.verdict.set()
        self.judging: list[bool] = []
        """True for each judgement that began, False for each that was broken off."""
        self.ids = 0
        self.deaths: list[tuple[str, restart.Verdict]] = []
        self.told: list[str] = []
        self.unservable: list[tuple[str, str]] = []
        self.print: object = "as it was"
        self.roster = Roster(
            lambda wish, restarts: WorkerOwner(wish, self, restarts=restarts),
            lambda wish, problem: self.unservable.append((wish.name, problem.code)),
            lambda wish: self.print,
        )

    def next_port(self) -> int:
        return 0

    def next_worker_id(self) -> str:
        self.ids += 1
        return f"w{self.ids}"

    async def prepare(self, wish: ModelWish) -> tuple[Plan, ...]:
        self.prepared += 1
        if self.refusal is None:
            await asyncio.Event().wait()
        assert self.refusal is not None
        raise self.refusal

    async def make_room(self, owner: WorkerOwner, plans: tuple[Plan, ...]) -> Plan:
        return plans[0]

    def fall(self, owner: WorkerOwner, problem: Problem) -> Fall:
        return Fall(problem)

    def restart_pause_s(self) -> float:
        return self.pause_s

    async def judge(self, *_: object) -> RbeeError | None:
        """As long as the test lets it: a file may have to be hashed."""
        self.judging.append(True)
        try:
            await self.verdict.wait()
        except asyncio.CancelledError:
            self.judging.append(False)
            raise
        return self.refusal

    async def probe(self, port: int, within_s: float) -> bool:
        return False

    def changed(self, owner: WorkerOwner) -> None:
        if self.told[-1:] != [now := f"{owner.id} {owner.state.value}"]:
            self.told.append(now)

    def replaced(self, owner: WorkerOwner, old_id: str, problem: Problem | None) -> None:
        self.told.append(f"{old_id} replaced")

    def died(self, owner: WorkerOwner, fall: Fall, verdict: restart.Verdict) -> None:
        self.deaths.append((fall.problem.code, verdict))
        if not isinstance(verdict, restart.Again):
            self.roster.failed_lastingly(owner, owner.problem or fall.problem)

    async def held(self, run: object) -> list[Leak]:
        return []

    def leaked(self, owner: WorkerOwner, leak: Leak) -> None:
        raise AssertionError(leak)

    def finished(self, owner: WorkerOwner) -> None:
        self.roster.finished(owner)
        self.told.append(f"{owner.id} gone")

    def queen_listens(self) -> bool:
        return True
