"""Promises about who may speak for a worker, over a real socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from rbee.edge.child import find
from rbee.edge.lines import LineChannel, dial_lines
from rbee.edge.logs import Log
from rbee.edge.process_table import start_time
from rbee.hive.lifeline_server import LifelineServer
from rbee.hive.worker_folder import WorkerFolder
from rbee.hive.worker_owner import WorkerOwner
from rbee.hive.worker_run import WorkerRun
from rbee.policy.worker_life import State
from rbee.version import VERSION
from rbee.wire import lifeline
from rbee.wire.control import ModelWish
from rbee.wire.lifeline import Listening, WorkerHello, WorkerSpec
from tests.eventually import soon
from tests.hive.surroundings import NoMachine

HELLO = WorkerHello("w1", os.getpid(), VERSION)
LISTENING = Listening(port=1, engine_pid=os.getpid(), slots=1, context_tokens=64, build="b1")

Dialogue = Callable[[LineChannel, WorkerOwner], Awaitable[None]]


def _meet(tmp_path: Path, dialogue: Dialogue, *, pid: int, adopted: bool = True) -> WorkerOwner:
    """Dial as the worker w1, whose process is `pid`, and talk."""

    async def run() -> WorkerOwner:
        machine = NoMachine(tmp_path)
        owner = WorkerOwner(ModelWish("m", "m:1"), machine)
        process = find(pid, start_time(pid) or 0.0)
        assert process is not None
        spec = WorkerSpec(id="w1", model="m", path="/m", lifeline="/l", log="/log")
        folder = WorkerFolder.create(tmp_path / "workers", "w1")
        owner.run = WorkerRun(folder, spec, "key", process, degraded="", adopted=adopted)
        owner.id = "w1"
        server = LifelineServer(lambda name: owner if name == "w1" else None, Log("t", "error"))
        await server.listen(tmp_path / "hive.sock", 1 << 16)
        async with asyncio.timeout(10):
            channel = await dial_lines(tmp_path / "hive.sock", connect_s=1, limit_bytes=1 << 16)
            await dialogue(channel, owner)
            channel.close()
        server.close()
        return owner

    return asyncio.run(run())


def _say(channel: LineChannel, *messages: lifeline.FromWorker) -> None:
    for message in messages:
        channel.send(lifeline.encode(message))


async def _becomes(owner: WorkerOwner, state: State) -> None:
    await soon(lambda: owner.state is state)


def test_a_worker_that_proves_itself_is_heard(tmp_path: Path) -> None:
    """Its own process says hello and Listening: the worker is READY."""

    async def dialogue(channel: LineChannel, owner: WorkerOwner) -> None:
        _say(channel, HELLO, LISTENING)
        await _becomes(owner, State.READY)

    assert _meet(tmp_path, dialogue, pid=os.getpid()).run is not None


def test_another_process_may_not_speak_for_a_worker(tmp_path: Path) -> None:
    """The kernel says who dials; what a stranger says changes nothing."""

    async def dialogue(channel: LineChannel, owner: WorkerOwner) -> None:
        _say(channel, HELLO, LISTENING)
        assert await channel.receive() is None

    assert _meet(tmp_path, dialogue, pid=os.getppid()).state is State.STARTING


def test_unknown_workers_and_nonsense_are_cut_off(tmp_path: Path) -> None:
    """Neither an unknown id nor a line that is no hello gets an answer."""

    async def unknown(channel: LineChannel, owner: WorkerOwner) -> None:
        _say(channel, WorkerHello("w2", os.getpid(), VERSION))
        assert await channel.receive() is None

    async def nonsense(channel: LineChannel, owner: WorkerOwner) -> None:
        channel.send(b"GET / HTTP/1.1\n")
        assert await channel.receive() is None

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert _meet(tmp_path / "a", unknown, pid=os.getpid()).state is State.STARTING
    assert _meet(tmp_path / "b", nonsense, pid=os.getpid()).state is State.STARTING


def test_an_adopted_worker_may_be_of_an_older_rbee(tmp_path: Path) -> None:
    """`rbee up` of a newer rbee takes loaded models back without a load."""

    async def dialogue(channel: LineChannel, owner: WorkerOwner) -> None:
        _say(channel, WorkerHello("w1", os.getpid(), "0.0.1"), LISTENING)
        await _becomes(owner, State.READY)

    _meet(tmp_path, dialogue, pid=os.getpid())
