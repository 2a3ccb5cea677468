"""Promises about a hive that does not move, over the real control socket, with real processes."""

import asyncio
import signal
import subprocess

from rbee.queen.hive_watch import keep_moving
from rbee.wire import control
from tests.queen.test_core import met


def test_one_that_answers_is_left_alone_and_one_that_does_not_is_ended(tmp_path):
    """A pong is enough; without one it gets SIGKILL, once."""
    process = subprocess.Popen(["sleep", "600"])

    async def story():
        async with met(tmp_path) as (here, hive):
            watching = asyncio.create_task(keep_moving(here.core.link, lambda: process.pid, 0.6))
            for _ in range(6):
                await hive.hear(control.Ping)
                hive.say(control.Pong())
            assert process.poll() is None
            async with asyncio.timeout(10):
                while process.poll() is None:
                    await hive.hear(control.Ping)
            watching.cancel()

    try:
        asyncio.run(story())
        assert process.returncode == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()


def test_without_a_hive_nobody_is_ended(tmp_path):
    """A pid of nobody, and a link that is gone, are no reason to kill."""

    async def story():
        async with met(tmp_path) as (here, hive):
            watching = asyncio.create_task(keep_moving(here.core.link, lambda: 0, 0.03))
            for _ in range(5):
                await hive.hear(control.Ping)
            watching.cancel()

    asyncio.run(story())
