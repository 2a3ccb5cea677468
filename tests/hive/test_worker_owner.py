"""Promises of an owner about workers that never come to be; living ones are in test_service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from rbee.errors import RbeeError
from rbee.hive.worker_owner import WorkerOwner
from rbee.policy import restart
from rbee.policy.worker_life import Event, State
from rbee.wire.control import ModelWish, Problem
from rbee.wire.lifeline import Listening
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


class _LoadedRun:
    """A process that has loaded and waits to be admitted; nothing of it is real."""

    id = "w1"
    listening = None
    was_ready = False
    said = None

    def __init__(self) -> None:
        self.child = SimpleNamespace(ended=None)
        self.ends: list[str] = []

    def heard_listening(self, said: Listening) -> None:
        self.listening = said

    async def stop(self, term_s: float) -> None:
        self.ends.append("stop")

    async def kill(self) -> None:
        self.ends.append("kill")

    async def clean(self, kept_logs: Path) -> list[str]:
        return []


async def _loaded(machine: NoMachine) -> tuple[WorkerOwner, _LoadedRun]:
    """An owner whose process says that it listens, and is being judged."""
    machine.verdict.clear()
    owner = WorkerOwner(WISH, machine)
    owner.start()
    await soon(lambda: machine.prepared == 1)
    run = _LoadedRun()
    owner.run = run  # type: ignore[assignment]
    owner.tell(Event.HELLO)
    owner.heard(Listening(1, 2, 1, 512, "b1"))
    owner.heard(Listening(1, 2, 1, 512, "b1"))
    await soon(lambda: bool(machine.judging))
    return owner, run


def test_a_worker_is_ready_when_it_is_judged_and_not_before(tmp_path: Path) -> None:
    """Said twice, it is judged once; the verdict makes it READY."""

    async def run() -> None:
        machine = NoMachine(tmp_path)
        owner, process = await _loaded(machine)
        assert owner.state is State.LOADING and process.listening is None
        machine.verdict.set()
        await soon(lambda: owner.state is State.READY)
        assert process.listening is not None and machine.judging == [True]
        owner.tell(Event.STOP_NOW)

    asyncio.run(run())


def test_a_worker_that_is_refused_is_killed_and_its_cause_is_kept(tmp_path: Path) -> None:
    """It was never ready; the refusal is what everybody hears."""

    async def run() -> None:
        machine = NoMachine(tmp_path)
        owner, process = await _loaded(machine)
        machine.refusal = RbeeError("MODEL_SELFTEST_FAILED", model="m", problem="rubbish")
        machine.verdict.set()
        await soon(lambda: process.ends == ["kill"])
        owner.tell(Event.EXITED)
        assert owner.lasting_problem and owner.lasting_problem.code == "MODEL_SELFTEST_FAILED"
        assert process.listening is None

    asyncio.run(run())


@pytest.mark.parametrize("event", [Event.STOP_NOW, Event.EXITED, Event.LATE])
def test_a_judgement_that_nobody_waits_for_is_broken_off(tmp_path: Path, event: Event) -> None:
    """A file of many gigabytes is not hashed to its end for a worker that is gone."""

    async def run() -> None:
        machine = NoMachine(tmp_path)
        owner, _ = await _loaded(machine)
        if event is Event.EXITED:
            owner.run.said = Problem("WORKER_CRASHED", "it died")  # type: ignore[union-attr]
        owner.tell(event)
        await soon(lambda: machine.judging == [True, False])
        assert owner.state is not State.READY

    asyncio.run(run())


def test_a_start_waits_for_its_turn_among_all_workers(tmp_path: Path) -> None:
    """When much dies at once, the next start comes later than its own record asks for; and the
    event tells the longer time."""

    async def run() -> None:
        machine = NoMachine(tmp_path)
        machine.pause_s = 30.0
        machine.refusal = RbeeError("DISK_IO", act="read", problem="it failed")
        owner = WorkerOwner(WISH, machine)
        owner.start()
        await soon(lambda: machine.deaths)
        (verdict,) = [verdict for _, verdict in machine.deaths]
        assert isinstance(verdict, restart.Again) and verdict.after_s == 30.0
        assert 29.0 < owner.retry_in_s <= 30.0
        owner.tell(Event.UNWANTED)
        await asyncio.wait_for(owner.gone.wait(), 5)

    asyncio.run(run())
