"""Promises about what is known of devices, with cards and an engine that a test tells of."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from rbee.edge.home import Home
from rbee.edge.logs import Log
from rbee.hive.device_room import DeviceRoom
from rbee.hive.engine_room import EngineRoom
from rbee.policy.cards import Card
from rbee.settings import Settings, Timing
from rbee.wire.control import Holder, ModelWish
from tests.eventually import soon
from tests.gpu_double import install, offer

GIB = 1 << 30
WISH, OTHER = ModelWish("m", "m:1"), ModelWish("n", "n:1")
COOL = Card("cuda", "A GPU", 8 * GIB, 3 * GIB, 60, 93, (Holder(7, "game", 5 * GIB),))
HOT = Card("cuda", "A GPU", 8 * GIB, 3 * GIB, 95, 93)


class Scene:
    """A room, an engine with one GPU, and the card under it."""

    def __init__(self, folder: Path, *, rest_s: float = 60.0) -> None:
        self.folder = folder
        self.cards: tuple[Card, ...] = (COOL,)
        home = Home(folder / "home")
        home.prepare()
        settings = Settings(home=str(home.root), engine_path=str(install(folder, "CUDA0")))
        engine = EngineRoom(home, lambda: settings, Log("t", "error"), lambda: None)
        timing = Timing(device_rest_s=rest_s, device_rest_cap_s=4 * rest_s)
        self.room = DeviceRoom(engine, lambda: timing, lambda: self.cards)

    async def known(self) -> DeviceRoom:
        await self.room.ask_again()
        await self.room.look()
        return self.room


def test_what_a_driver_tells_counts_more_than_what_the_engine_said(tmp_path: Path) -> None:
    """Free memory is that of now, and who holds the rest is named."""

    async def run() -> None:
        room = await Scene(tmp_path).known()
        assert room.free_bytes("cuda:0") == 3 * GIB
        assert room.holders("cuda:0") == "on cuda:0: game (pid 7) 5.0 GiB"
        assert room.holders("cuda:1") == "" and room.free_bytes("cuda:1") == 0
        cpu, gpu = room.views()
        assert cpu.memory_bytes >= cpu.free_bytes > 0
        assert (gpu.id, gpu.free_bytes, gpu.celsius) == ("cuda:0", 3 * GIB, 60)

    asyncio.run(run())


def test_heat_is_told_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    """Once each."""

    async def run() -> None:
        scene = Scene(tmp_path)
        room = await scene.known()
        told = []
        for card in (HOT, HOT, COOL, COOL):
            scene.cards = (card,)
            told.append([one.hot for one in await room.look()])
        assert told == [[True], [], [False], []]

    asyncio.run(run())


def test_memory_that_a_dead_process_keeps_is_seen(tmp_path: Path) -> None:
    """A driver that needs a moment gets it; one that does not give it back is told of."""

    async def run() -> None:
        scene = Scene(tmp_path)
        room = await scene.known()
        assert await room.still_held(frozenset({7})) == ("cuda:0",)
        assert await room.still_held(frozenset({8})) == ()
        waiting = asyncio.create_task(room.still_held(frozenset({7})))
        await asyncio.sleep(0)
        scene.cards = (HOT,)
        assert await waiting == ()

    asyncio.run(run())


def test_a_lost_device_rests_for_all_and_a_full_one_for_its_model(tmp_path: Path) -> None:
    """Another model may be small enough; on a lost device nothing runs."""

    async def run() -> None:
        room = await Scene(tmp_path).known()
        assert room.failed(("cuda:0",), WISH, "GPU_OUT_OF_MEMORY", "it is full") == 60.0
        assert room.barred(WISH) == {"cuda:0"} and not room.barred(OTHER)
        assert room.views()[1].rests == "for m: it is full"
        room.failed(("cuda:0",), WISH, "GPU_ERROR", "it was lost")
        assert room.barred(OTHER) == {"cuda:0"}
        assert room.views()[1].rests == "it was lost"
        assert 50 < room.views()[1].rests_until - time.time() < 70
        resting = room.machine(OTHER).resting["cuda:0"]
        assert resting.why == "it was lost" and 50 < resting.rests_s <= 60
        room.forget(WISH)
        assert not room.barred(WISH) and not room.barred(OTHER)

    asyncio.run(run())


def test_a_device_proves_itself_by_serving(tmp_path: Path) -> None:
    """In the engine's list again it is on trial; a model that serves there ends that."""

    async def run() -> None:
        room = await Scene(tmp_path, rest_s=0.05).known()
        room.failed(("cuda:0",), WISH, "GPU_ERROR", "it was lost")
        assert room.serves(("cuda:0",), WISH) == ()
        await soon(room.due)
        assert await room.look_for() == (("cuda:0", "it was lost"),)
        assert not room.barred(WISH) and room.on_trial("cuda:0", WISH)
        assert room.serves(("cuda:0",), WISH) == ("cuda:0",)
        assert not room.on_trial("cuda:0", WISH) and not room.due()

    asyncio.run(run())


def test_a_device_that_is_gone_stays_barred(tmp_path: Path) -> None:
    """The engine is asked, and does not list it."""

    async def run() -> None:
        scene = Scene(tmp_path, rest_s=0.05)
        room = await scene.known()
        room.failed(("cuda:0",), WISH, "DEVICE_UNAVAILABLE", "it vanished")
        offer(scene.folder)
        await soon(room.due)
        assert await room.look_for() == ()
        assert room.barred(WISH) == {"cuda:0"} and room.offered == ("cpu",)

    asyncio.run(run())
