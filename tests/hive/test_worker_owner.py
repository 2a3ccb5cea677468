"""Promises of an owner about workers that never come to be; living ones are in test_service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rbee.errors import RbeeError
from rbee.hive.worker_owner import WorkerOwner
from rbee.policy import restart
from rbee.policy.worker_life import Event, State
from rbee.wire.control import ModelWish
from tests.eventually import soon
from tests.hive.surroundings import NoMachine

WISH = ModelWish("m", "m:1")


@pytest.mark.parametrize("event", [Event.UNWANTED, Event.STOP_NOW])
def test_stopping_what_is_still_being_prepared(tmp_path: Path, event: Event) -> None:
    """A worker that waits for its file to be hashed ends at once, and nobody calls it a crash."""

    async def run() -> None:
        machine = NoMachine(tmp_path)
        owner = WorkerOwner(WISH, machine)
        owner.start()
        await soon(lambda: machine.prepared == 1)
        owner.tell(event)
        await asyncio.wait_for(owner.gone.wait(), 5)
        assert owner.state is State.STOPPED
        assert machine.deaths == []

    asyncio.run(run())


def test_a_refusal_of_a_passing_kind_is_tried_again(tmp_path: Path) -> None:
    """The next process has a new name, and the old one is told as replaced."""

    async def run() -> None:
        machine = NoMachine(tmp_path)
        machine.refusal = RbeeError("DISK_IO", act="read", problem="it failed")
        owner = WorkerOwner(WISH, machine)
        owner.start()
        await soon(lambda: len(machine.deaths) == 2)
        assert [code for code, _ in machine.deaths] == ["DISK_IO"] * 2
        assert machine.told[:4] == ["w1 STARTING", "w1 FAILED", "w1 replaced", "w2 STARTING"]
        assert owner.restarts >= 1 and owner.lasting_problem is None
        owner.tell(Event.UNWANTED)
        await asyncio.wait_for(owner.gone.wait(), 5)

    asyncio.run(run())


def test_a_mistake_while_preparing_is_an_error_not_a_standstill(tmp_path: Path) -> None:
    """A worker never stays STARTING because of a mistake of ours."""

    class Mistaken(NoMachine):
        async def prepare(self, wish: ModelWish) -> object:  # type: ignore[override]
            raise ZeroDivisionError("ours")

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        machine = Mistaken(tmp_path)
        owner = WorkerOwner(WISH, machine)
        owner.start()
        await soon(lambda: bool(machine.deaths))
        code, verdict = machine.deaths[0]
        assert code == "INTERNAL" and isinstance(verdict, restart.Again)
        owner.tell(Event.STOP_NOW)
        await asyncio.wait_for(owner.gone.wait(), 5)

    asyncio.run(run())


def test_draining_without_an_end_has_a_limit(tmp_path: Path) -> None:
    """An answer that never ends holds a draining worker for drain_s at most."""

    async def run() -> None:
        machine = NoMachine(tmp_path, drain_s=0.05)
        owner = WorkerOwner(WISH, machine)
        owner.start()
        await soon(lambda: machine.prepared == 1)
        owner.tell(Event.LISTENING)
        owner.heard_busy(2)
        owner.tell(Event.UNWANTED)
        assert owner.state is State.DRAINING
        await asyncio.wait_for(owner.gone.wait(), 5)

    asyncio.run(run())


def test_busy_and_idle_are_told_by_the_queen(tmp_path: Path) -> None:
    """Counts move it between READY and BUSY; an answer that ended counts as served."""

    async def run() -> None:
        machine = NoMachine(tmp_path)
        owner = WorkerOwner(WISH, machine)
        owner.start()
        owner.tell(Event.LISTENING)
        for count, state in ((1, State.BUSY), (2, State.BUSY), (1, State.BUSY), (0, State.READY)):
            owner.heard_busy(count)
            assert owner.state is state
        assert owner.answers == 1
        owner.tell(Event.STOP_NOW)

    asyncio.run(run())
