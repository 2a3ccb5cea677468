"""Promises about memory that is given to one load after the other, on a machine without workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.hive.device_links import Machine
from rbee.hive.room import Holding, Room
from rbee.hive.wish_plan import Plan, Stored, plans
from rbee.hive.worker_owner import WorkerOwner
from rbee.policy.memory import Shape
from rbee.policy.worker_life import Event, State
from rbee.settings import Settings
from rbee.wire.control import Device, EngineView, ModelWish
from tests.eventually import soon
from tests.hive.surroundings import NoMachine

ENGINE = EngineView("llama-cpp", "b1", devices=(Device("cpu", "CPU"),))
GPU_ENGINE = EngineView(
    "llama-server", "b1", "/x", devices=(Device("cpu", "CPU"), Device("cuda:0", "GPU"))
)
MIB = 1 << 20


class _House:
    """Owners by name, and a room of so many MiB for them."""

    def __init__(self, tmp_path: Path, mib: int) -> None:
        self.machine = NoMachine(tmp_path)
        self.settings = Settings(home=str(tmp_path), memory_bytes=mib * MIB)
        self.sent_away: list[str] = []
        self.moves = 0
        self.free: dict[str, int] = {}
        """Of devices."""
        self.room = Room(
            lambda: self.settings,
            self.machine.roster.owners,
            self._send,
            self,
            Log("t", "error"),
        )

    def _send(self, owner: WorkerOwner) -> None:
        self.sent_away.append(owner.wish.name)
        self.machine.roster.give_way(owner)

    def free_bytes(self, device: str) -> int:
        return self.free[device]

    def holders(self, device: str) -> str:
        return f"on {device}: game (pid 7)" if device in self.free else ""

    def _moved(self) -> None:
        self.moves += 1

    def owner(self, name: str, *, keep_alive_s: float = 300.0) -> WorkerOwner:
        wish = ModelWish(name, f"{name}:1", ctx=64, parallel=1, keep_alive_s=keep_alive_s)
        self.machine.roster.want(wish)
        return next(one for one in self.machine.roster.owners() if one.wish.name == name)

    def plans(self, owner: WorkerOwner, mib: int = 100) -> tuple[Plan, ...]:
        name = owner.wish.name
        stored = Stored(f"/{name}", f"sha256:{name}", shape=Shape(mib * MIB, 4, 512, 1000))
        engine = GPU_ENGINE if self.free else ENGINE
        machine = Machine(self.free)
        return plans(owner.wish, stored, engine, self.settings, 1, machine=machine)

    async def make(self, owner: WorkerOwner, mib: int = 100) -> Plan:
        return await self.room.make(owner, self.plans(owner, mib), self._moved)

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
        house.free = {"cuda:0": 20_000 * MIB}
        chosen = await house.make(owner, 10_000)
        assert (chosen.device, chosen.degraded) == ("cuda:0", "")
        assert owner.holds is not None and set(owner.holds.claims) == {"cuda:0"}

    _run(tmp_path, 1, story)


def _auto(house: _House, name: str = "m") -> WorkerOwner:
    """A wish that leaves context and slots to rbee."""
    house.machine.roster.want(ModelWish(name, f"{name}:1"))
    return next(one for one in house.machine.roster.owners() if one.wish.name == name)


def test_what_does_not_fit_is_made_smaller_and_says_so(tmp_path: Path) -> None:
    """4 slots of 4,096 tokens need 64 MiB beside 500 of weights; there is room for 2 slots."""

    async def story(house: _House) -> None:
        whole, *_ = house.plans(_auto(house), 500)
        house.settings = replace(house.settings, memory_bytes=whole.need.all_bytes - 1)
        chosen = await house.make(next(house.machine.roster.owners()), 500)
        assert (chosen.slots, chosen.context_tokens) == (2, 4096)
        assert "slots=2 instead of 4" in chosen.degraded

    _run(tmp_path, 1, story)


def test_a_gpu_that_is_too_small_is_filled_in_part_then_left(tmp_path: Path) -> None:
    """First all of it with less, then some layers, then the processor; each is declared."""

    async def story(house: _House) -> None:
        owner = _auto(house)
        seen = []
        for free_mib in (4000, 1550, 1300, 600):
            house.free = {"cuda:0": free_mib * MIB}
            chosen = await house.make(owner, 1000)
            seen.append((chosen.device, chosen.slots, chosen.setting.layers))
            assert bool(chosen.degraded) is (free_mib < 4000)
            assert chosen.better == (() if chosen.device == "cuda:0" else ("cuda:0",))
        assert seen == [("cuda:0", 4, -1), ("cuda:0", 2, -1), ("cuda:0", 1, 3), ("cpu", 4, -1)]

    _run(tmp_path, 4000, story)


def test_a_refusal_names_who_holds_the_device_and_what_would_fit(tmp_path: Path) -> None:
    """A person who insists on a device is told the numbers of that device."""

    async def story(house: _House) -> None:
        house.free = {"cuda:0": 600 * MIB}
        wish = ModelWish("m", "m:1", device="cuda:0", fallback=False, ctx=100_000, parallel=1)
        house.machine.roster.want(wish)
        with pytest.raises(RbeeError) as caught:
            await house.make(next(house.machine.roster.owners()), 100)
        facts = caught.value.facts
        assert caught.value.code == "MODEL_TOO_LARGE"
        assert facts["free_bytes"] == 600 * MIB < facts["needed_bytes"]
        assert "game (pid 7)" in facts["holders"]
        assert f"--ctx {facts['largest_ctx']} --parallel 1 --device cuda:0" in facts["advice"]
        assert 8000 < facts["largest_ctx"] < 100_000

    _run(tmp_path, 4000, story)
