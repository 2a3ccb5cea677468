"""Why workers are gone, told by the hive, sooner or later."""

import asyncio

from rbee.queen.deaths import SHARED_WITHIN_S, Deaths
from rbee.wire.control import Problem

KILLED = Problem("WORKER_KILLED", "It was killed", retry="elsewhere")


def with_deaths(body):
    async def run():
        now = [100.0]
        await body(Deaths(lambda: now[0]), now)

    asyncio.run(run())


def test_a_cause_that_comes_late_is_waited_for():
    """The connection breaks before the hive has seen why."""

    async def run():
        deaths = Deaths(asyncio.get_running_loop().time)
        asked = asyncio.ensure_future(deaths.cause("w1", 5.0))
        await asyncio.sleep(0)
        deaths.remember("w2", KILLED)
        await asyncio.sleep(0)
        assert not asked.done()
        deaths.remember("w1", KILLED)

        assert (await asked).code == "WORKER_KILLED"

    asyncio.run(run())


def test_nobody_waits_longer_than_asked():
    """A hive that says nothing costs the time that was given, no more."""

    async def run():
        deaths = Deaths(asyncio.get_running_loop().time)
        assert await deaths.cause("w1", 0.05) is None

    asyncio.run(run())


def test_a_new_life_has_no_cause_of_death():
    """What ended the last one explains nothing any more."""

    async def body(deaths, now):
        deaths.remember("w1", KILLED)
        deaths.forget("w1")

        assert await deaths.cause("w1", 0.0) is None

    with_deaths(body)


def test_a_death_is_shared_with_strangers_only():
    """Two workers that die together die of one cause, unless this request was on both."""

    async def body(deaths, now):
        deaths.remember("w1", KILLED)
        now[0] += SHARED_WITHIN_S
        deaths.remember("w2", KILLED)

        assert deaths.shared("w1", ["w1"]) and not deaths.shared("w1", ["w1", "w2"])
        now[0] += SHARED_WITHIN_S + 0.1
        deaths.remember("w3", KILLED)
        assert not deaths.shared("w3", ["w3"]) and not deaths.shared("w9", [])

    with_deaths(body)


def test_the_memory_is_bounded():
    """A flapping machine does not fill it."""

    async def body(deaths, now):
        for number in range(300):
            deaths.remember(f"w{number}", KILLED)

        assert await deaths.cause("w0", 0.0) is None
        assert (await deaths.cause("w299", 0.0)).code == "WORKER_KILLED"

    with_deaths(body)
