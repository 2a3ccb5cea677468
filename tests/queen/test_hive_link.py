"""The queen's end of the control protocol: a hive that hangs is told from one that is slow."""

import asyncio
from contextlib import asynccontextmanager

from rbee.edge.lines import dial_lines
from rbee.queen.hive_link import HiveLink
from rbee.wire import control
from tests.eventually import soon
from tests.queen.test_core import hello

PING_S = 0.02


START_S = 0.2


@asynccontextmanager
async def watched(tmp_path, *, dials=True):
    """A link that is watched, the far end of it, and how often the hive was taken for hung."""
    hung = []
    link = HiveLink(
        on_meet=lambda _: (),
        on_message=lambda _: None,
        on_lost=lambda: None,
        on_mistake=lambda *_: None,
        limit_bytes=1 << 20,
    )
    await link.listen(tmp_path / "control.sock")
    watching = asyncio.create_task(link.watch(PING_S, START_S, lambda: hung.append(1)))
    channel = await dial_lines(tmp_path / "control.sock", connect_s=1, limit_bytes=1 << 20)
    if dials:
        channel.send(control.encode(hello()))
    try:
        yield channel, hung
    finally:
        watching.cancel()
        channel.close()
        link.close()


def test_a_hive_that_says_nothing_is_hung(tmp_path):
    """It holds the connection and answers no ping: whoever waits for it would wait for ever."""

    async def run():
        async with watched(tmp_path) as (_, hung):
            await soon(lambda: hung)

    asyncio.run(run())


def test_a_hive_that_never_says_hello_is_hung(tmp_path):
    """It was frozen as it began: nobody would ever be told anything by it."""

    async def run():
        async with watched(tmp_path, dials=False) as (_, hung):
            began = asyncio.get_running_loop().time()
            await soon(lambda: hung)
            assert asyncio.get_running_loop().time() - began > START_S / 2

    asyncio.run(run())


def test_a_hive_that_answers_lives(tmp_path):
    """Twenty pings, twenty answers, no suspicion."""

    async def run():
        async with watched(tmp_path) as (channel, hung):
            pings = 0
            while pings < 20:
                line = await channel.receive()
                assert line is not None
                if isinstance(control.decode_to_hive(line), control.Ping):
                    pings += 1
                    channel.send(control.encode(control.Pong()))
            assert hung == []

    asyncio.run(run())


def test_a_socket_that_was_taken_away_is_made_anew(tmp_path):
    """The line that is there stays, and another hive finds where to dial."""

    async def run():
        path = tmp_path / "control.sock"
        met, lost, hives = [], [], []
        link = HiveLink(
            on_meet=lambda hello: met.append(hello) or (),
            on_message=lambda _: None,
            on_lost=lambda: lost.append(1),
            on_mistake=lambda *_: None,
            limit_bytes=1 << 20,
        )
        await link.listen(path)
        for meetings in (1, 2):
            channel = await dial_lines(path, connect_s=1, limit_bytes=1 << 20)
            hives.append(channel)
            channel.send(control.encode(hello()))
            await soon(lambda count=meetings: len(met) == count)
            assert link.connected and not lost
            before = path.stat().st_ino
            await link.stay_reachable()
            assert path.stat().st_ino == before
            path.unlink()
            await link.stay_reachable()
            assert link.connected
        for channel in hives:
            channel.close()
        link.close()

    asyncio.run(run())


def test_a_mistake_of_ours_costs_one_message(tmp_path):
    """The next one is heard: a link that ended would end every answer that waits for the hive."""

    async def run():
        heard, mistakes = [], []

        def hear(message):
            heard.append(message)
            if len(heard) == 1:
                raise KeyError("ours")

        link = HiveLink(
            on_meet=lambda _: (),
            on_message=hear,
            on_lost=lambda: None,
            on_mistake=lambda error, _: mistakes.append(error),
            limit_bytes=1 << 20,
        )
        await link.listen(tmp_path / "control.sock")
        channel = await dial_lines(tmp_path / "control.sock", connect_s=1, limit_bytes=1 << 20)
        for message in (hello(), control.WorkerGone("w1", "m", "chat"), control.Pong()):
            channel.send(control.encode(message))
        await soon(lambda: len(heard) == 2)
        assert [type(one) for one in mistakes] == [KeyError] and link.connected
        channel.close()
        link.close()

    asyncio.run(run())


def test_a_meeting_that_fails_leaves_nobody_waiting(tmp_path):
    """Whatever ended the connection, it is lost, and a call is told so. (fuzz)"""

    async def run():
        lost = []

        def meet(_):
            raise KeyError("ours")

        link = HiveLink(
            on_meet=meet,
            on_message=lambda _: None,
            on_lost=lambda: lost.append(1),
            on_mistake=lambda *_: None,
            limit_bytes=1 << 20,
        )
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await link.listen(tmp_path / "control.sock")
        channel = await dial_lines(tmp_path / "control.sock", connect_s=1, limit_bytes=1 << 20)
        channel.send(control.encode(hello()))
        await soon(lambda: lost)
        assert not link.connected
        channel.close()
        link.close()

    asyncio.run(run())
