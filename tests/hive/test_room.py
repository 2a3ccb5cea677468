"""Promises about memory that is given to one load after the other, on a machine without workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.hive.room import Holding, Room
from rbee.hive.wish_plan import Plan, Stored, plan
from rbee.hive.worker_owner import WorkerOwner
from rbee.policy.memory import Shape
from rbee.policy.worker_life import Event, State
from rbee.settings import Settings
from rbee.wire.control import Device, EngineView, ModelWish
from tests.eventually import soon
from tests.hive.surroundings import NoMachine

ENGINE = EngineView("llama-cpp", "b1", devices=(Device("cpu", "CPU"),))
MIB = 1 << 20


class _House:
    """Owners by name, and a room of so many MiB for them."""

    def __init__(self, tmp_path: Path, mib: int) -> None:
        self.machine = NoMachine(tmp_path)
        self.settings = Settings(home=str(tmp_path), memory_bytes=mib * MIB)
        self.sent_away: list[str] = []
        self.moves = 0
        self.room = Room(
            lambda: self.settings, self.machine.roster.owners, self._send, Log("t", "error")
        )

    def _send(self, owner: WorkerOwner) -> None:
        self.sent_away.append(owner.wish.name)
        self.machine.roster.give_way(owner)

    def _moved(self) -> None:
        self.moves += 1

    def owner(self, name: str, *, keep_alive_s: float = 300.0) -> WorkerOwner:
        wish = ModelWish(name, f"{name}:1", ctx=64, parallel=1, keep_alive_s=keep_alive_s)
        self.machine.roster.want(wish)
        return next(one for one in self.machine.roster.owners() if one.wish.name == name)

    def plan(self, owner: WorkerOwner, mib: int = 100) -> Plan:
        name = owner.wish.name
        stored = Stored(f"/{name}", f"sha256:{name}", shape=Shape(mib * MIB, 1, 1, 1))
        return plan(owner.wish, stored, ENGINE, self.settings, 1)

    async def make(self, owner: WorkerOwner, mib: int = 100) -> None:
        await self.room.make(owner, self.plan(owner, mib), self._moved)

    async def serve(self, owner: WorkerOwner, mib: int = 100) -> None:
        await self.make(owner, mib)
        owner.tell(Event.HELLO)
        owner.tell(Event.LISTENING)
        owner.answers = 1


def _run(tmp_path: Path, mib: int, story: Callable[[_House], Awaitable[None]]) -> None:
    async def run() -> None:
        await story(_House(tmp_path, mib))

    asyncio.run(run())


def test_an_idle_model_makes_room_and_is_named_to_who_waits(tmp_path: Path) -> None:
    """The load goes on when it is gone, and its memory counts as taken from then on."""

    async def story(house: _House) -> None:
        old, new = house.owner("old"), house.owner("new")
        await house.serve(old)
        making = asyncio.create_task(house.make(new))
        await soon(lambda: house.sent_away == ["old"])
        assert new.waits_for == ("old",)
        assert old.state is State.DRAINING
        old.tell(Event.WORK_ENDED)
        old.tell(Event.EXITED)
        await making
        assert (new.waits_for, house.moves) == ((), 1)
        assert isinstance(new.holds, Holding) and old.holds is None

    _run(tmp_path, 250, story)


def test_loads_are_let_in_in_their_order(tmp_path: Path) -> None:
    """What is freed for one is not taken by another who asked later."""

    async def story(house: _House) -> None:
        first, second = house.owner("first"), house.owner("second")
        busy = house.owner("busy")
        await house.serve(busy)
        busy.heard_busy(1)
        let_in: list[str] = []

        async def make(owner: WorkerOwner) -> None:
            await house.make(owner)
            let_in.append(owner.wish.name)

        tasks = [asyncio.create_task(make(one)) for one in (first, second)]
        await soon(lambda: first.waits_for == ("busy",))
        assert second.waits_for == ()
        busy.heard_busy(0)
        await soon(lambda: house.sent_away == ["busy"])
        busy.tell(Event.WORK_ENDED)
        busy.tell(Event.EXITED)
        await soon(lambda: let_in == ["first"])
        for task in tasks:
            task.cancel()

    _run(tmp_path, 250, story)


def test_what_stays_is_named_and_the_refusal_ends_when_there_is_room(tmp_path: Path) -> None:
    """The numbers are told; whether it would fit now is known without trying."""

    async def story(house: _House) -> None:
        kept, large = house.owner("kept", keep_alive_s=-1.0), house.owner("large")
        await house.serve(kept)
        with pytest.raises(RbeeError) as caught:
            await house.make(large)
        assert caught.value.code == "MODEL_TOO_LARGE"
        assert "kept stays loaded" in str(caught.value)
        assert not house.room.fits_now(large.wish)
        kept.holds = None
        assert house.room.fits_now(large.wish)

    _run(tmp_path, 250, story)


def test_one_who_does_not_want_it_any_more_holds_nobody_up(tmp_path: Path) -> None:
    """A start that is broken off while it waits lets the next one in."""

    async def story(house: _House) -> None:
        busy, first, second = house.owner("busy"), house.owner("first"), house.owner("second")
        await house.serve(busy)
        busy.heard_busy(1)
        waiting = asyncio.create_task(house.make(first))
        await soon(lambda: first.waits_for == ("busy",))
        waiting.cancel()
        await soon(waiting.done)
        assert first.waits_for == ()
        await house.make(second, mib=1)
        assert second.holds is not None

    _run(tmp_path, 300, story)


def test_what_is_not_in_this_memory_asks_for_none(tmp_path: Path) -> None:
    """Weights on a GPU are not counted against the machine's memory."""

    async def story(house: _House) -> None:
        owner = house.owner("gpu")
        engine = EngineView(
            "llama-server", "b1", path="/x", devices=(Device("cpu", "CPU"), Device("cuda:0", "G"))
        )
        stored = Stored("/gpu", "sha256:1", shape=Shape(10_000 * MIB))
        chosen = plan(owner.wish, stored, engine, house.settings, 1)
        await house.room.make(owner, chosen, lambda: None)
        assert owner.holds is None

    _run(tmp_path, 1, story)
