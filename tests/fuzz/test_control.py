"""Peers on the control sockets that say anything: they are dropped, and everything goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rbee.edge.lines import LineChannel, listen_lines
from rbee.edge.logs import Log
from rbee.hive.lifeline_server import LifelineServer
from rbee.hive.queen_link import QueenLink
from rbee.settings import Settings, Timing
from rbee.version import CONTROL_PROTOCOL, VERSION
from rbee.wire import control, lifeline
from tests.fuzz.conftest import Fuzzed
from tests.fuzz.odd import VALUES, damaged, tries
from tests.fuzz.test_engine_answers import with_odd
from tests.wire.test_control import FROM_HIVE, TO_HIVE

HELLO = msgspec.structs.replace(FROM_HIVE[0], version=VERSION, protocol=CONTROL_PROTOCOL)
WELCOME = control.encode(control.Welcome(VERSION, ()))
ODD = st.lists(st.tuples(st.integers(0, 1000), VALUES), max_size=2)


def odd_lines(messages: list[Any]) -> st.SearchStrategy[bytes]:
    """Messages of the right shape with wrong values, and what is no message at all."""
    built = [msgspec.to_builtins(message) for message in messages]

    def line(number: int, odd: list[tuple[int, Any]]) -> bytes:
        (value,) = with_odd([built[number % len(built)]], odd)
        return msgspec.json.encode(value) + b"\n"

    sound = st.builds(line, st.integers(0, len(built) - 1), ODD)
    broken = damaged(b"".join(control.encode(message) for message in messages))
    return sound | sound | broken | st.binary(max_size=30)


async def converse(path: Path, *lines: bytes) -> bytes:
    """Say these, then hang up; what was answered."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        for line in lines:
            writer.write(line)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_a_hive_that_says_anything(fuzzed: Fuzzed, tmp_path: Path) -> None:
    """Odd values, damaged lines, wrong order, repeats: the next sound hive is welcomed, and no call
    waits for the one that is gone."""
    core, mistakes = fuzzed.stage.core, fuzzed.faults
    core._log = lambda event, **facts: mistakes.append(f"{event} {facts}")
    path = tmp_path / "control.sock"
    fuzzed.run(core.link.listen(path))

    @tries(100)
    @given(meets=st.booleans(), lines=st.lists(odd_lines(FROM_HIVE), max_size=5))
    def story(meets: bool, lines: list[bytes]) -> None:
        first = [control.encode(HELLO)] if meets else []
        fuzzed.run(converse(path, *first, *lines))
        welcomed = fuzzed.run(converse(path, control.encode(HELLO)))
        assert b'"welcome"' in welcomed
        fuzzed.run(asyncio.sleep(0))
        assert not core.link.connected
        assert not mistakes, mistakes

    story()


def test_a_queen_that_says_anything(tmp_path: Path) -> None:
    """The hive drops her and dials again, until a sound one is there."""
    path = tmp_path / "control.sock"
    settings = Settings(home=str(tmp_path), timing=Timing(orphan_s=5))

    async def meet(lines: list[bytes]) -> None:
        heard: list[control.ToHive] = []
        said = iter([[WELCOME, *lines], [WELCOME]])
        met = asyncio.Event()

        async def queen(channel: LineChannel) -> None:
            await channel.receive()
            for line in next(said, [WELCOME]):
                channel.send(line)
            await channel.flush()
            if next(said, None) is None:
                met.set()
                await channel.receive()

        server = await listen_lines(path, queen, limit_bytes=1 << 20)
        link = QueenLink(path, settings, hello=lambda: HELLO, hear=heard.append, log=Log("fuzz"))
        running = asyncio.create_task(link.run())
        await asyncio.wait_for(met.wait(), 5)
        assert isinstance(heard[0] if heard else control.Welcome(VERSION), control.Welcome)
        assert not running.done() or running.exception() is None
        running.cancel()
        await asyncio.wait({running})
        server.close()

    @tries(400)
    @given(lines=st.lists(odd_lines(TO_HIVE), min_size=1, max_size=5))
    def story(lines: list[bytes]) -> None:
        path.unlink(missing_ok=True)
        asyncio.run(meet(lines))

    story()


def test_a_worker_that_says_anything(tmp_path: Path) -> None:
    """Whoever is no worker of the hive is dropped without an answer, and the next one is heard."""
    path = tmp_path / "hive.sock"
    hello = lifeline.WorkerHello(id="w1", version=VERSION, pid=1)
    asked: list[str] = []

    async def meet(lines: list[bytes]) -> None:
        server = LifelineServer(asked.append, Log("fuzz"))
        await server.listen(path, 1 << 20)
        assert await converse(path, *lines) == b""
        asked.clear()
        await converse(path, lifeline.encode(hello))
        assert asked == ["w1"]
        server.close()

    @tries(200)
    @given(lines=st.lists(odd_lines([hello, lifeline.Loading(0.5)]), max_size=4))
    def story(lines: list[bytes]) -> None:
        path.unlink(missing_ok=True)
        asyncio.run(meet(lines))

    story()
