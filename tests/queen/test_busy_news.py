"""Promises about what the hive hears of work on its workers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from rbee.queen.busy_news import IDLE_TOLD_AFTER_S, BusyNews
from rbee.queen.roster import Roster
from rbee.wire.control import ATTACHED, Busy, WorkerView
from tests.eventually import soon


@dataclass
class Scene:
    """A roster with a worker, and what was told of it."""

    roster: Roster = field(default_factory=Roster)
    told: list[Busy] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.news = BusyNews(self.roster, self.told.append)
        self.state("READY")

    def state(self, state: str, engine: str = "llama-cpp") -> None:
        self.roster.put(WorkerView("w1", "h", "tiny", "r", "chat", state, pid=1, engine=engine))
        self.news.worker_changed("w1", state)

    def runs(self, count: int) -> None:
        self.roster.set_busy("w1", count)
        self.news.changed("w1", count)

    async def hears(self, *busy: Busy) -> None:
        await soon(lambda: self.told == list(busy))


def test_short_requests_tell_the_hive_little() -> None:
    """A thousand answers one after the other are one time of work, told twice."""

    async def run() -> None:
        scene = Scene()
        for _ in range(1000):
            scene.runs(1)
            scene.runs(0)
        assert scene.told == [Busy("w1", 1)]
        await scene.hears(Busy("w1", 1), Busy("w1", 0))

    asyncio.run(run())


def test_who_works_again_is_not_idle() -> None:
    """A worker that has an answer when it is looked at is not told to be idle."""

    async def run() -> None:
        scene, looked = Scene(), asyncio.Event()
        scene.runs(1)
        scene.runs(0)
        scene.runs(1)
        asyncio.get_running_loop().call_later(IDLE_TOLD_AFTER_S * 2, looked.set)
        await looked.wait()
        assert scene.told == [Busy("w1", 1)]
        scene.runs(0)
        await scene.hears(Busy("w1", 1), Busy("w1", 0))

    asyncio.run(run())


def test_a_worker_that_came_back_is_told_anew() -> None:
    """A hive forgets what ran on a process that is gone; what runs on the next one it must hear."""

    async def run() -> None:
        scene = Scene()
        scene.runs(1)
        scene.runs(0)
        scene.state("FAILED")
        scene.state("READY")
        scene.runs(1)
        assert scene.told == [Busy("w1", 1), Busy("w1", 1)]

    asyncio.run(run())


def test_who_drains_is_not_waited_for() -> None:
    """An idle worker that is to go is told to be idle at once."""

    async def run() -> None:
        scene = Scene()
        scene.state("DRAINING")
        assert scene.told == [Busy("w1", 0)]

    asyncio.run(run())


def test_no_hive_hears_of_attached_servers() -> None:
    """They are nobody's process here."""

    async def run() -> None:
        scene = Scene()
        scene.state("READY", engine=ATTACHED)
        scene.runs(1)
        scene.runs(0)
        assert scene.told == []

    asyncio.run(run())
