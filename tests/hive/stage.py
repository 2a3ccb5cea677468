"""A test's own words to a real hive: it listens where the queen would, and speaks the protocol."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from rbee.edge.home import Home
from rbee.edge.lines import LineChannel, listen_lines
from rbee.edge.process_table import group_members
from rbee.hive.worker_folder import WorkerFolder
from rbee.version import VERSION
from rbee.wire import control
from rbee.wire.control import ModelWish, WorkerView

LIMIT_S = 60.0
"""For anything to happen on a noisy machine; nothing waits so long that works."""

Found = TypeVar("Found")

SHORT_TIMES = {
    "RBEE_HEALTH_EVERY_S": "0.3",
    "RBEE_PROBE_S": "1",
    "RBEE_RESTART_FIRST_S": "0.05",
    "RBEE_TERM_S": "2",
    "RBEE_DRAIN_S": "5",
    "RBEE_ORPHAN_S": "20",
}


class Stage:
    """A home, a socket where the hive dials, and what it said."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.wishes: tuple[ModelWish, ...] = ()
        self.answer: control.ToHive | None = None
        """Said instead of Welcome."""
        self.hello: control.Hello | None = None
        self.hellos = 0
        self.workers: dict[str, WorkerView] = {}
        self.heard: list[control.FromHive] = []
        self.hives: list[subprocess.Popen[bytes]] = []
        self._channel: LineChannel | None = None
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._calls = 0

    # --- the hive's process -----------------------------------------------------------------

    def start_hive(self, **times: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, **SHORT_TIMES, **times, "RBEE_HOME": str(self.home.root)}
        env["RBEE_THREADS"] = "1"
        with (self.home.logs / "hive.log").open("ab") as log:
            hive = subprocess.Popen(
                [sys.executable, "-m", "rbee.hive"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.hives.append(hive)
        return hive

    def hive_log(self) -> str:
        return (self.home.logs / "hive.log").read_text()

    async def exit_code(self, hive: subprocess.Popen[bytes]) -> int:
        await self.until(lambda: hive.poll() is not None)
        return hive.returncode

    # --- the queen's part -------------------------------------------------------------------

    async def listen(self) -> None:
        self._server = await listen_lines(
            self.home.control_socket, self._serve, limit_bytes=4 << 20
        )

    async def _serve(self, channel: LineChannel) -> None:
        line = await channel.receive()
        hello = control.decode_from_hive(line or b"")
        assert isinstance(hello, control.Hello)
        channel.send(control.encode(self.answer or control.Welcome(VERSION, self.wishes)))
        self.hello = hello
        self.hellos += 1
        self.workers = {worker.id: worker for worker in hello.workers}
        self._channel = channel
        self._changed.set()
        while (line := await channel.receive()) is not None:
            self._hear(control.decode_from_hive(line))

    def _hear(self, message: control.FromHive) -> None:
        self.heard.append(message)
        if isinstance(message, control.WorkerChanged):
            self.workers[message.worker.id] = message.worker
            if message.worker.state == "DRAINING" and message.worker.busy == 0:
                self.say(control.Busy(message.worker.id, 0))
        elif isinstance(message, control.WorkerGone):
            self.workers.pop(message.id, None)
        self._changed.set()

    def say(self, message: control.ToHive) -> None:
        assert self._channel is not None
        self._channel.send(control.encode(message))

    async def call(self, make: Callable[[str], control.ToHive]) -> control.Done | control.Failed:
        self._calls += 1
        name = f"call{self._calls}"
        self.say(make(name))

        def answer() -> control.Done | control.Failed | None:
            for message in self.heard:
                if isinstance(message, control.Done | control.Failed) and message.call == name:
                    return message
            return None

        return await self.until(answer)

    # --- waiting ----------------------------------------------------------------------------

    async def until(self, check: Callable[[], Found | None], within_s: float = LIMIT_S) -> Found:
        """The first true answer of `check`; asked again at every message and now and then."""
        deadline = time.monotonic() + within_s
        while not (found := check()):
            assert time.monotonic() < deadline, self.story()
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), 0.05)
            except TimeoutError:
                continue
        return found

    async def ready(self, *, other_than: int = 0, model: str = "smol") -> WorkerView:
        """A worker that is READY, with another engine process than this one."""

        def one() -> WorkerView | None:
            for worker in self.workers.values():
                if worker.state == "READY" and worker.pid != other_than and worker.model == model:
                    return worker
            return None

        return await self.until(one)

    async def event(self, code: str) -> control.Happened:
        def one() -> control.Happened | None:
            for message in self.heard:
                if isinstance(message, control.Happened) and message.code == code:
                    return message
            return None

        return await self.until(one)

    async def unservable(self) -> control.Unservable:
        def one() -> control.Unservable | None:
            return next((m for m in self.heard if isinstance(m, control.Unservable)), None)

        return await self.until(one)

    def story(self) -> str:
        return "\n".join(map(_brief, self.heard[-20:])) + "\n" + self.hive_log()[-4000:]

    def leavings(self) -> list[str]:
        """Folders of workers and sockets that are still there."""
        return [path.name for path in self.home.workers.iterdir()] + [
            name for name in ("hive.sock", "hive.json") if (self.home.run / name).exists()
        ]

    def close(self) -> None:
        """End what this stage started, and the workers of its hives."""
        for hive in self.hives:
            if hive.poll() is None:
                hive.kill()
            hive.wait()
        for folder in WorkerFolder.all_in(self.home.workers):
            if (found := folder.read()) and group_members(found[2].pid):
                os.killpg(found[2].pid, signal.SIGKILL)
        if self._server is not None:
            self._server.close()


def _brief(message: control.FromHive) -> str:
    if isinstance(message, control.WorkerChanged):
        worker = message.worker
        return f"{worker.id} {worker.state} pid {worker.pid} {worker.progress} {worker.problem}"
    return str(message)


@asynccontextmanager
async def stage(root: Path) -> AsyncIterator[Stage]:
    """A stage in a folder of its own; whatever happens, nothing of it stays."""
    home = Home(root)
    home.prepare()
    scene = Stage(home)
    await scene.listen()
    try:
        yield scene
    finally:
        scene.close()


def wish(model: Path, **changes: Any) -> ModelWish:
    """A small wish for a model file."""
    facts: dict[str, Any] = {"name": "smol", "ref": f"file://{model}", "ctx": 256, "parallel": 1}
    return ModelWish(**{**facts, "keep_alive_s": -1.0, **changes})
