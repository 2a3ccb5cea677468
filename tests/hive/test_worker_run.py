"""Promises about one process of a worker; those with an engine are in test_service."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from rbee.edge.child import spawn
from rbee.edge.process_table import group_members, has_ended
from rbee.edge.worker_cgroup import WorkerCgroup
from rbee.hive.death import cause_of_death
from rbee.hive.worker_folder import WorkerFolder
from rbee.hive.worker_owner import WorkerOwner
from rbee.hive.worker_run import Leak, WorkerRun
from rbee.hive.worker_view import view_of
from rbee.policy.worker_life import Event
from rbee.wire.control import ModelWish
from rbee.wire.lifeline import Listening, WorkerSpec
from tests.eventually import soon
from tests.hive.surroundings import NoMachine

WISH = ModelWish("m", "m:1")
SLEEP = "import time; print('loading', flush=True); time.sleep(600)"
SPEC = WorkerSpec(id="w1", model="m", path="/m", lifeline="/l", log="/log", digest="sha256:1")


def _run(tmp_path: Path, code: str = SLEEP) -> WorkerRun:
    """A process that is no worker, in the place of one."""
    folder = WorkerFolder.create(tmp_path / "workers", "w1")
    child = spawn([sys.executable, "-c", code], log=folder.log)
    return WorkerRun(folder, SPEC, "key", child, degraded="")


def test_a_start_writes_orders_key_and_birth(tmp_path: Path) -> None:
    """The process gets its orders by path and its key in the environment; both are private."""

    async def run() -> None:
        folder = WorkerFolder.create(tmp_path / "workers", "w1")
        started = WorkerRun.start(folder, SPEC, "key", wish=WISH, restarts=2, degraded="slow")
        try:
            found = folder.read()
            assert found is not None
            spec, key, birth = found
            assert (spec, key, birth.pid, birth.restarts) == (SPEC, "key", started.child.pid, 2)
            environment = Path(f"/proc/{started.child.pid}/environ").read_bytes()
            assert b"RBEE_WORKER_KEY=key" in environment.split(b"\0")
        finally:
            assert await started.clean(tmp_path / "kept") == []

    asyncio.run(run())


def test_cleaning_reaps_everything_once(tmp_path: Path) -> None:
    """Group and folder are gone, the log is kept; cleaning again is harmless."""

    async def run() -> None:
        worker = _run(tmp_path)
        await soon(worker.folder.tail)
        assert await worker.clean(tmp_path / "kept") == []
        assert await worker.clean(tmp_path / "kept") == []
        assert not group_members(worker.child.pid)
        assert not worker.folder.path.exists()
        assert (tmp_path / "kept" / "w1.log").read_text() == "loading\n"

    asyncio.run(run())


def test_a_killed_engine_that_a_control_group_still_names_is_no_leak(tmp_path: Path) -> None:
    """The kernel takes a process off that list a moment after it has ended."""

    ended = subprocess.Popen([sys.executable, "-c", ""])

    async def run() -> list[Leak]:
        await soon(lambda: has_ended(ended.pid))
        (tmp_path / "group").mkdir()
        (tmp_path / "group" / "cgroup.procs").write_text(str(ended.pid))
        worker = _run(tmp_path)
        worker.group = WorkerCgroup(tmp_path / "group", 1, None)
        try:
            return await worker.clean(tmp_path / "kept")
        finally:
            ended.wait()

    assert [leak.what for leak in asyncio.run(run())] == ["control group group"]


def test_a_port_that_stays_is_a_leak(tmp_path: Path) -> None:
    """What still listens after the end of the group is told."""

    async def run() -> list[Leak]:
        worker = _run(tmp_path)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            worker.heard_listening(Listening(port, worker.child.pid, 1, 64, "b1"))
            return await worker.clean(tmp_path / "kept")

    (leak,) = asyncio.run(run())
    assert leak.what.startswith("port ")


def test_a_port_that_is_a_moment_late_is_no_leak(tmp_path: Path) -> None:
    """A killed engine is a zombie before the kernel has closed its port."""

    async def run() -> list[Leak]:
        run = _run(tmp_path)
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        run.heard_listening(Listening(port, run.child.pid, 1, 512, "b1"))
        asyncio.get_running_loop().call_later(0.3, server.close)
        return await run.clean(tmp_path / "logs")

    assert asyncio.run(run()) == []


def test_a_leak_is_told_once(tmp_path: Path) -> None:
    """Two who wait for the cleaning do not make two events of one leak."""

    async def run() -> list[Leak]:
        run = _run(tmp_path)
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        run.heard_listening(Listening(port, run.child.pid, 1, 512, "b1"))
        both = await asyncio.gather(run.clean(tmp_path / "a"), run.clean(tmp_path / "a"))
        server.close()
        return [*both[0], *both[1]]

    assert len(asyncio.run(run())) == 1


def test_stopping_twice_signals_once(tmp_path: Path) -> None:
    """The first stop does it all; a second one returns at once."""

    async def run() -> None:
        worker = _run(tmp_path)
        await asyncio.gather(worker.stop(2.0), worker.stop(2.0))
        assert (await worker.child.wait()).signal == signal.SIGTERM
        await worker.clean(tmp_path / "kept")

    asyncio.run(run())


def test_an_outside_kill_is_named(tmp_path: Path) -> None:
    """SIGKILL without an OOM count is told as a kill from outside, with model and worker."""

    async def run() -> None:
        worker = _run(tmp_path)
        os.killpg(worker.child.pid, signal.SIGKILL)
        await worker.child.wait()
        error = cause_of_death(WISH, worker)
        assert error.code == "WORKER_KILLED"
        assert (error.facts["model"], error.facts["worker"]) == ("m", "w1")
        await worker.clean(tmp_path / "kept")

    asyncio.run(run())


def test_an_end_without_a_reason_is_a_crash(tmp_path: Path) -> None:
    """Code 0 that nobody asked for is a failure too."""

    async def run() -> None:
        worker = _run(tmp_path, "pass")
        await worker.child.wait()
        assert cause_of_death(WISH, worker).code == "WORKER_CRASHED"
        await worker.clean(tmp_path / "kept")

    asyncio.run(run())


def test_a_view_of_the_dead_has_no_address(tmp_path: Path) -> None:
    """A living worker shows pid, port and key; a failed one shows none, and why."""

    async def run() -> None:
        owner = WorkerOwner(WISH, NoMachine(tmp_path))
        owner.run = worker = _run(tmp_path)
        owner.id = "w1"
        await soon(worker.folder.tail)
        worker.heard_listening(Listening(4321, worker.child.pid, 2, 64, "b1"))
        owner.tell(Event.LISTENING)
        alive = view_of(owner, "here")
        assert (alive.pid, alive.port, alive.key) == (worker.child.pid, 4321, "key")
        assert (alive.slots, alive.context_tokens, alive.digest) == (2, 64, "sha256:1")
        assert alive.memory_bytes > 0 and alive.progress == 1.0
        await worker.kill()
        await worker.child.wait()
        owner.tell(Event.EXITED)
        dead = view_of(owner, "here")
        assert (dead.state, dead.pid, dead.port, dead.key) == ("FAILED", 0, 0, "")
        assert dead.problem is not None and dead.problem.code == "WORKER_KILLED"
        owner.tell(Event.UNWANTED)
        await asyncio.wait_for(owner.gone.wait(), 5)

    asyncio.run(run())
