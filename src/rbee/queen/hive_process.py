"""Keeps one hive running: started with the queen, started again within a second when it dies.

A hive of an earlier queen that still lives is left to dial in by itself, unless it hangs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

import msgspec

from rbee.edge.home import Home
from rbee.edge.log_file import open_log
from rbee.edge.process_table import is_alive, start_time
from rbee.wire.unreadable import UNREADABLE

_KILLED_PAUSE_S = 0.5
"""Longest pause after a SIGKILL: a hive is back within 1 s."""

_MET_WITHIN_S = 5.0
"""How long a hive found alive may take to dial in; it tries several times a second. Then it hangs:
no other can be started while it holds its lock."""


class HiveProcess:
    """Owner of the hive's process. `on_death(returncode)` hears of each unasked end."""

    def __init__(
        self,
        home: Home,
        *,
        restart_s: float,
        restart_cap_s: float,
        on_death: Callable[[int], None],
        met_within_s: float = _MET_WITHIN_S,
    ) -> None:
        self._home = home
        self._restart_s = restart_s
        self._restart_cap_s = restart_cap_s
        self._on_death = on_death
        self._met_within_s = met_within_s
        self._process: asyncio.subprocess.Process | None = None
        self._leaving = False

    @property
    def pid(self) -> int:
        """The hive's pid, 0 if none is known."""
        if self._process is not None and self._process.returncode is None:
            return self._process.pid
        return running_hive(self._home)

    async def keep(self, met: asyncio.Event) -> None:
        """Run until `leave`; `met` is set when a hive has dialled in."""
        await self._wait_for_earlier(met)
        pause_s = self._restart_s
        while not self._leaving:
            started = asyncio.get_running_loop().time()
            self._process = await self._spawn()
            returncode = await self._process.wait()
            if self._leaving:
                return
            self._on_death(returncode)
            lived_s = asyncio.get_running_loop().time() - started
            if lived_s > 10:
                pause_s = self._restart_s
            # Who is killed from outside did nothing wrong, however often that happens.
            killed = returncode == -signal.SIGKILL
            pause_s = min(pause_s, _KILLED_PAUSE_S) if killed else pause_s
            await asyncio.sleep(pause_s)
            pause_s = min(self._restart_cap_s, pause_s * 2)

    def kill_hung(self) -> None:
        """End a hive that hangs; the next one takes its workers over."""
        if pid := self.pid:
            os.kill(pid, signal.SIGKILL)

    def leave(self) -> None:
        """The next end of the hive is asked for."""
        self._leaving = True

    async def end(self, grace_s: float) -> None:
        """Wait for the hive to go, then end it: SIGTERM, SIGKILL."""
        self._leaving = True
        for signal_, wait_s in ((None, grace_s), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
            pid = self.pid
            if not pid:
                return
            if signal_ is not None:
                os.kill(pid, signal_)
            if await _gone(pid, wait_s):
                return

    async def _wait_for_earlier(self, met: asyncio.Event) -> None:
        if not running_hive(self._home):
            return
        try:
            async with asyncio.timeout(self._met_within_s):
                await met.wait()
        except TimeoutError:
            self.kill_hung()
        while not self._leaving and running_hive(self._home):
            await asyncio.sleep(0.2)
        if not self._leaving:
            self._on_death(0)

    async def _spawn(self) -> asyncio.subprocess.Process:
        log = open_log(self._home.logs / "hive.log")
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "rbee.hive",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)


def running_hive(home: Home) -> int:
    """The pid of the hive of this home, by its file and its start time; 0: none."""
    try:
        said = msgspec.json.decode(home.hive_file.read_bytes(), type=dict[str, object])
        pid, started = said["pid"], said["start_time"]
        if not isinstance(pid, int) or not isinstance(started, int | float):
            return 0
    except (OSError, KeyError, *UNREADABLE):
        return 0
    return pid if is_alive(pid, started) else 0


async def _gone(pid: int, within_s: float) -> bool:
    started = start_time(pid)
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while started is not None and is_alive(pid, started):
        if loop.time() >= until:
            return False
        await asyncio.sleep(0.02)
    return True
