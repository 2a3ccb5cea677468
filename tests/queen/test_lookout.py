"""Promises about waits that are looked after by one timer."""

from __future__ import annotations

import asyncio

import pytest

from rbee.errors import RbeeError
from rbee.queen.lookout import Guard, Lookout


def hung() -> RbeeError:
    return RbeeError("CANCELLED")


def test_what_a_look_finds_is_raised_where_the_guard_stands() -> None:
    """A wait for something that never comes ends with the error of the look."""

    async def run() -> None:
        lookout = Lookout()
        with pytest.raises(RbeeError, match="cancelled"):
            with lookout.guard(lambda now: hung()):
                async with asyncio.timeout(5):
                    await asyncio.get_running_loop().create_future()

    asyncio.run(run())


def test_who_looks_well_is_left_alone() -> None:
    """A look that finds nothing ends nothing, however often it is taken."""

    async def run() -> None:
        lookout, looks = Lookout(), asyncio.Queue[float]()
        with lookout.guard(looks.put_nowait):
            first, second = await looks.get(), await looks.get()
        assert second - first >= 0.2

    asyncio.run(run())


def test_a_cancelled_task_stays_cancelled() -> None:
    """A client that hangs up in the moment in which the look ends the wait is a client that hung
    up: cancellation is never swallowed."""

    async def run() -> None:
        lookout = Lookout()
        entered: asyncio.Future[Guard] = asyncio.get_running_loop().create_future()

        async def wait() -> None:
            with lookout.guard(lambda now: None) as guard:
                entered.set_result(guard)
                await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(wait())
        guard = await entered
        guard.end(hung())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_a_guard_that_was_left_ends_nothing() -> None:
    """What comes late finds nobody."""

    async def run() -> None:
        lookout = Lookout()
        with lookout.guard(lambda now: None) as guard:
            pass
        guard.end(hung())
        await asyncio.sleep(0)

    asyncio.run(run())


def test_without_guards_nothing_is_woken() -> None:
    """An idle queen sleeps."""

    async def run() -> None:
        lookout = Lookout()
        with lookout.guard(lambda now: None):
            pass
        lookout._sweep()
        assert lookout._timer is None

    asyncio.run(run())
