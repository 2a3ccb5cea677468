"""What the queen does though nobody asks."""

import asyncio

import pytest
from msgspec.structs import replace

from rbee.policy.pressure import Memory
from rbee.queen.upkeep import tend
from rbee.settings import Timing
from rbee.wire.control import Device, EngineView, Hello
from tests.edge.test_memory import INFO, PSI, written
from tests.queen.stage import WHOLE, Engine, hold, say, stage

ENGINE = EngineView("llama-server", "b1")


async def until(check):
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("psi", "info"),
    [(PSI, None), (None, INFO.replace("1228800", "1000000"))],
    ids=["PSI", "no PSI"],
)
def test_short_memory_halves_the_lines_and_is_told(tmp_path, psi, info):
    """The kernel's word cuts the limit, with the event MEMORY_SHORT; `ps` and metrics show it."""
    proc = written(tmp_path / "proc", psi, info) if (tmp_path / "proc").mkdir() is None else None

    async def run():
        async with stage(tmp_path) as here:
            tending = asyncio.create_task(tend(here.core, proc))
            await until(lambda: here.core.lanes.queue_limit == 50)
            tending.cancel()
            (event,) = here.core.events.recent(code="MEMORY_SHORT")
            shown = (await here.client.get("/rbee/ps")).json()["queues"]["tiny"]
            metrics = (await here.client.get("/metrics")).text

            assert event.outcome == "ok" and "memory is short" in event.what
            assert shown["limit"] == 50 and "rbee_queue_places 50.0" in metrics

    asyncio.run(run())


def test_a_hot_gpu_halves_the_lines_until_it_is_cooler(tmp_path):
    """The hive tells of it; lines are answered as if memory were short, and say why."""
    cool = Device("cuda:0", "GPU", celsius=60, hot_at=90)

    async def run():
        async with stage(tmp_path) as here:
            core = here.core
            for device in (cool, replace(cool, celsius=95, hot=True), cool):
                core.roster.meet(Hello("v", 1, "h", 1, "m", 2, 1, ENGINE, (device,)))
                core.feel(Memory())
                assert bool(core.roster.heat) is device.hot
                assert core.lanes.queue_limit == (100 if device is cool and not told(core) else 50)
            (event,) = told(core)
            assert event.code == "GPU_TOO_HOT" and "cuda:0 is too hot (95 °C)" in event.what

    def told(core):
        return core.events.recent(code="GPU_TOO_HOT")

    asyncio.run(run())


def test_a_worker_that_was_cut_off_is_tried_again_without_a_newcomer(tmp_path):
    """Who waits for it is let through when its time is over: nobody has to come for that."""
    timing = Timing(breaker_open_local_s=2)

    async def run():
        async with (
            stage(tmp_path, timing=timing) as here,
            Engine(say(then_close=True)).running() as failing,
            Engine(hold()).running() as holding,
        ):
            here.worker(failing, "w1", slots=5)
            await asyncio.gather(*(here.chat() for _ in range(5)))
            worker = here.core.roster.workers["w1"]
            assert here.core.health.view(worker)["breaker"] == "open"
            here.worker(holding, "w2", slots=1)
            held = asyncio.ensure_future(here.chat())
            await until(lambda: holding.asked)
            waiting = asyncio.ensure_future(here.chat())
            await until(lambda: here.core.lanes.waiting().get("tiny"))
            failing.play = say(WHOLE)
            tending = asyncio.create_task(tend(here.core, tmp_path))
            answer = await waiting
            tending.cancel()
            held.cancel()

            assert answer.json()["rbee"]["worker"] == "w1"
            assert here.core.health.view(worker)["breaker"] == "closed"

    asyncio.run(run())
