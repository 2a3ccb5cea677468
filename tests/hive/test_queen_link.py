"""Promises about the hive's end of the control protocol, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from rbee.edge.lines import LineChannel, listen_lines
from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.hive.queen_link import QueenLink
from rbee.settings import Settings, Timing
from rbee.version import CONTROL_PROTOCOL, VERSION
from rbee.wire import control
from rbee.wire.problem import to_problem
from tests.eventually import soon

LIMIT_S = 10.0
ENGINE = control.EngineView("llama-cpp", "b1")
HELLO = control.Hello(VERSION, CONTROL_PROTOCOL, "here", 1, "here", 2, 1 << 30, ENGINE, ())
WELCOME = control.encode(control.Welcome(VERSION, ()))

Serve = Callable[[LineChannel], Awaitable[None]]


class Talk:
    """A link, and what it heard."""

    def __init__(self, folder: Path, orphan_s: float) -> None:
        self.heard: list[control.ToHive] = []
        settings = Settings(home=str(folder), timing=Timing(orphan_s=orphan_s))
        self.link = QueenLink(
            folder / "control.sock",
            settings,
            hello=lambda: HELLO,
            hear=self.heard.append,
            log=Log("test", "error"),
        )


def _talk(folder: Path, serve: Serve, orphan_s: float = 0.3) -> Talk:
    """Run a link against a queen that serves each connection so, until the link gives up."""

    async def run() -> Talk:
        talk = Talk(folder, orphan_s)
        server = await listen_lines(folder / "control.sock", serve, limit_bytes=1 << 20)
        async with asyncio.timeout(LIMIT_S):
            task = asyncio.create_task(talk.link.run())
            await soon(lambda: talk.heard or task.done())
            server.close()
            await task
        return talk

    return asyncio.run(run())


def test_it_says_hello_first_and_hears_in_order(tmp_path: Path) -> None:
    """Hello is the first line, the Welcome the first that is heard."""
    lines: list[control.FromHive] = []

    async def serve(channel: LineChannel) -> None:
        line = await channel.receive()
        lines.append(control.decode_from_hive(line or b""))
        channel.send(WELCOME + control.encode(control.Ping()))
        await channel.flush()

    talk = _talk(tmp_path, serve)
    assert lines[0] == HELLO
    assert talk.heard[:2] == [control.Welcome(VERSION, ()), control.Ping()]
    assert not talk.link.connected


def test_a_refusal_is_final(tmp_path: Path) -> None:
    """A queen of another version is not dialled again."""
    error = RbeeError(
        "VERSION_MISMATCH", one="rbee", one_version="1", other="hive", other_version="2"
    )
    dialled = []

    async def serve(channel: LineChannel) -> None:
        dialled.append(await channel.receive())
        channel.send(control.encode(control.Refused(to_problem(error.report))))
        await channel.flush()

    talk = _talk(tmp_path, serve, orphan_s=LIMIT_S)
    assert talk.link.refused is not None and talk.link.refused.code == "VERSION_MISMATCH"
    assert len(dialled) == 1 and talk.heard == []


def test_it_dials_again_after_a_loss(tmp_path: Path) -> None:
    """A queen that goes away is dialled again, and told everything anew."""
    hellos = []

    async def serve(channel: LineChannel) -> None:
        hellos.append(await channel.receive())
        if len(hellos) == 3:
            channel.send(WELCOME)
            await channel.flush()

    _talk(tmp_path, serve, orphan_s=1.0)
    assert hellos[:3] == [control.encode(HELLO)] * 3


def test_nonsense_ends_the_connection_not_the_link(tmp_path: Path) -> None:
    """A line that is no message is logged, and the queen dialled again."""
    connections = []

    async def serve(channel: LineChannel) -> None:
        connections.append(await channel.receive())
        channel.send(b"nonsense\n" if len(connections) == 1 else WELCOME)
        await channel.flush()

    talk = _talk(tmp_path, serve, orphan_s=1.0)
    assert len(connections) >= 2 and talk.heard


def test_what_changes_after_hello_is_said_behind_it(tmp_path: Path) -> None:
    """Nothing said between Hello and Welcome is lost; without a queen it is dropped."""
    lines = []

    async def run() -> None:
        talk = Talk(tmp_path, orphan_s=1.0)
        talk.link.say(control.Pong())

        async def serve(channel: LineChannel) -> None:
            lines.append(control.decode_from_hive(await channel.receive() or b""))
            talk.link.say(control.Pong())
            lines.append(control.decode_from_hive(await channel.receive() or b""))

        server = await listen_lines(tmp_path / "control.sock", serve, limit_bytes=1 << 20)
        async with asyncio.timeout(LIMIT_S):
            task = asyncio.create_task(talk.link.run())
            await soon(lambda: len(lines) >= 2)
            server.close()
            await task

    asyncio.run(run())
    assert lines[:2] == [HELLO, control.Pong()]


def test_faults_are_kept_for_a_queen_who_is_away(tmp_path: Path) -> None:
    """What happened without a queen is told behind the next Hello."""
    fault = control.Happened(1.0, "WORKER_KILLED", "killed", "started again", "ok")
    lines = []

    async def run() -> None:
        talk = Talk(tmp_path, orphan_s=1.0)
        talk.link.say(fault)

        async def serve(channel: LineChannel) -> None:
            lines.append(control.decode_from_hive(await channel.receive() or b""))
            lines.append(control.decode_from_hive(await channel.receive() or b""))

        server = await listen_lines(tmp_path / "control.sock", serve, limit_bytes=1 << 20)
        async with asyncio.timeout(LIMIT_S):
            task = asyncio.create_task(talk.link.run())
            await soon(lambda: len(lines) >= 2)
            server.close()
            await task

    asyncio.run(run())
    assert lines[:2] == [HELLO, fault]


def test_a_link_without_a_queen_ends(tmp_path: Path) -> None:
    """After orphan_s without a queen the link gives up."""

    async def run() -> float:
        talk = Talk(tmp_path, orphan_s=0.3)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(LIMIT_S):
            await talk.link.run()
        return asyncio.get_running_loop().time() - began

    assert 0.3 <= asyncio.run(run()) < 5
