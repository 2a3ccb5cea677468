"""One process of a worker: started or taken back, stopped, and cleaned up after."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rbee.edge import child as children
from rbee.edge import strays
from rbee.edge.child import Child
from rbee.edge.lines import LineChannel
from rbee.edge.machine_memory import private_bytes
from rbee.edge.oom_watch import OomWatch
from rbee.edge.process_table import has_ended, memory_bytes, port_listening
from rbee.edge.worker_cgroup import WorkerCgroup
from rbee.hive.wish_plan import HERE
from rbee.hive.worker_folder import Birth, WorkerFolder
from rbee.policy.memory import Need
from rbee.wire import lifeline
from rbee.wire.control import ModelWish, Problem
from rbee.wire.lifeline import Listening, WorkerSpec

KEY_VARIABLE = "RBEE_WORKER_KEY"

_STOP_GRACE_S = 1.0
"""Between the word `Stop` and SIGTERM: an idle engine ends in 0.1 s (docs/measured.md)."""

_LAST_WORDS_S = 0.3
"""For the lifeline of a dead process to give what it still holds."""

_PORT_FREED_S = 2.0
"""For the kernel to close what a killed engine held."""

_PORT_POLL_S = 0.05

_GROUP_FREED_S = 1.0
"""For the kernel to take killed processes out of their control group."""

_NOTHING = Need(0, 0)
_NO_CLAIMS: Mapping[str, Need] = MappingProxyType({})
_NO_GROUP = WorkerCgroup(None, 0, None)


@dataclass(frozen=True, slots=True)
class Leak:
    """Something of a process that was still there when it had ended."""

    what: str
    ended: bool = False
    """Found and reaped; else it is still there."""


class WorkerRun:
    """A process, its folder and what it said. Made by `start` or `adopt`."""

    def __init__(
        self,
        folder: WorkerFolder,
        spec: WorkerSpec,
        key: str,
        child: Child,
        *,
        degraded: str,
        better: tuple[str, ...] = (),
        claims: Mapping[str, Need] = _NO_CLAIMS,
        group: WorkerCgroup = _NO_GROUP,
        adopted: bool = False,
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.key = key
        self.child = child
        self.degraded = degraded
        self.better = better
        """Devices that it would rather run on, and comes back to when they are well."""
        self.adopted = adopted
        """Started by an earlier hive, maybe of an older rbee."""
        self.claims = claims
        """What it was thought to take of this machine's memory and of devices."""
        self.group = group
        self.oom = OomWatch(child.pid)
        self.began_at = time.monotonic()
        self.listening: Listening | None = None
        self.loaded_in_s = 0.0
        self.progress = 0.0
        self.said: Problem | None = None
        """The process's own word on why it cannot load."""
        self.was_ready = adopted
        self.memory_bytes = 0
        self._channel: LineChannel | None = None
        self._silent = asyncio.Event()
        self._silent.set()
        self._cleaning: asyncio.Task[list[Leak]] | None = None
        self._stopping = False

    @classmethod
    def start(
        cls,
        folder: WorkerFolder,
        spec: WorkerSpec,
        key: str,
        *,
        wish: ModelWish,
        restarts: int,
        degraded: str,
        better: tuple[str, ...] = (),
        claims: Mapping[str, Need] = _NO_CLAIMS,
        group: WorkerCgroup = _NO_GROUP,
    ) -> WorkerRun:
        """Write the orders and start the process. Raises OSError; the folder is then removed."""
        folder.write(spec, key)
        child = children.spawn(
            [sys.executable, "-P", "-m", "rbee.worker", str(folder.spec_file)],
            log=folder.log,
            env={
                **os.environ,
                KEY_VARIABLE: key,
                strays.MARK: folder.mark,
                "TMPDIR": str(folder.temporary),
            },
            cwd=folder.path,
        )
        group.take(child.pid)
        here = claims.get(HERE, _NOTHING)
        folder.write_birth(
            Birth(
                child.pid,
                child.started_at,
                wish,
                restarts=restarts,
                degraded=degraded,
                weights_bytes=here.weights_bytes,
                own_bytes=here.own_bytes,
                device_bytes={
                    place: need.own_bytes for place, need in claims.items() if place != HERE
                },
                better=better,
            )
        )
        return cls(
            folder, spec, key, child, degraded=degraded, better=better, claims=claims, group=group
        )

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def pid(self) -> int:
        """The process that runs the engine; until it is known, the worker's."""
        return self.listening.engine_pid if self.listening else self.child.pid

    @property
    def private_bytes(self) -> int:
        """What it has taken of the memory that cannot be taken from it again, now."""
        return sum(map(private_bytes, {self.child.pid, self.pid}))

    def attach(self, channel: LineChannel) -> None:
        """Its lifeline; an older one is closed."""
        if self._channel is not None:
            self._channel.close()
        self._channel = channel
        self._silent.clear()

    def detach(self, channel: LineChannel) -> None:
        """That lifeline is gone."""
        if self._channel is channel:
            self._channel = None
            self._silent.set()

    def heard_listening(self, message: Listening) -> None:
        self.listening = message
        self.was_ready = True
        self.progress = 1.0
        if not self.loaded_in_s:
            tested_s = message.selftest.took_s if message.selftest else 0.0
            self.loaded_in_s = time.monotonic() - self.began_at - tested_s
        self.measure()

    def measure(self) -> None:
        """Look at memory, and at where the kernel would count an OOM kill."""
        self.memory_bytes = memory_bytes({self.child.pid, self.pid})
        self.oom.look(self.pid)

    async def last_words(self) -> None:
        """Give the lifeline a moment to deliver what the dead process still said."""
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._silent.wait()
        except TimeoutError:
            return

    async def stop(self, term_s: float) -> None:
        """Ask it to end, then SIGTERM, then SIGKILL to its group. The first call does it."""
        if self._stopping:
            return
        self._stopping = True
        if self._channel is not None:
            self._channel.send(lifeline.encode(lifeline.Stop()))
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_GRACE_S):
                    await self.child.wait()
        await self.child.end(term_s)

    async def kill(self) -> None:
        """All of it: its group, and what slipped out of that into its control group."""
        self.group.kill()
        await self.child.kill()

    async def clean(self, kept_logs: Path) -> list[Leak]:
        """Reap all that the process left, once; what could not be reaped is given to one caller."""
        if self._cleaning is None:
            self._cleaning = asyncio.create_task(self._clean(kept_logs))
        found = await asyncio.shield(self._cleaning)
        leaks = list(found)
        found.clear()
        return leaks

    async def _clean(self, kept_logs: Path) -> list[Leak]:
        leaks = [Leak(f"process {pid}") for pid in await self.child.kill()]
        await self.child.wait()
        self.oom.kills()
        leaks += await asyncio.to_thread(self._end_strays)
        if self._channel is not None:
            self._channel.close()
        port = self.listening.port if self.listening else 0
        if port and not await _port_freed(port):
            leaks.append(Leak(f"port {port}"))
        self.folder.retire(kept_logs)
        return leaks

    def _end_strays(self) -> list[Leak]:
        """What left the process group is still in the control group, or carries the mark."""
        # A control group holds a killed engine a moment longer than the process table does.
        there = self.group.members() | strays.marked(self.folder.mark)
        found = sum(not has_ended(pid) for pid in there)
        self.group.kill()
        left = strays.end(self.folder.mark)
        leaks = [Leak(f"processes that left its group: {found}", ended=not left)] if found else []
        until = time.monotonic() + _GROUP_FREED_S
        while (used := self.group.remove()) and time.monotonic() < until:
            time.sleep(_PORT_POLL_S)
        return leaks + [Leak(f"control group {folder.name}") for folder in used]


async def _port_freed(port: int) -> bool:
    """Whether nobody listens there any more. The first thread of a killed engine is a zombie before
    its others have closed the files that they share: the port is a moment late."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _PORT_FREED_S
    while port_listening(port):
        if loop.time() >= until:
            return False
        await asyncio.sleep(_PORT_POLL_S)
    return True
