"""Child processes that cannot take us with them, and that we can end whole.

A child gets a session (and so a process group) of its own, `/dev/null` as input, and a file as
output: never a pipe, since an engine whose log pipe nobody read froze (docs/measured.md).
Its end is awaited on a pidfd where the kernel has them, also for a process that another life of
ours started and that is no child of this one; its return code is then not to be had.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rbee.edge.process_table import group_members, is_alive, kill_group, start_time

_POLL_S = 0.1
"""Between looks at a process where the kernel has no pidfd, and at a group that is ending."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. Both None: it was not our child, only its end was seen."""

    returncode: int | None = None
    signal: int | None = None


class Child:
    """One process that leads a group of its own."""

    def __init__(self, pid: int, started_at: float, popen: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self.started_at = started_at
        """By `process_table.start_time`; with the pid it names this process."""
        self._popen = popen
        self._exit: Exit | None = None

    @property
    def ended(self) -> Exit | None:
        """How it ended, or None while it runs (as far as `wait` has seen)."""
        return self._exit

    async def wait(self) -> Exit:
        """Wait for the end of the leader (others of its group may live on)."""
        if self._exit is None:
            await self._until_gone()
            self._exit = self._reaped()
        return self._exit

    def send_signal(self, number: int) -> bool:
        """Signal the whole group; False if none of it is left."""
        return kill_group(self.pid, number)

    async def end(self, term_s: float) -> Exit:
        """SIGTERM to the group, SIGKILL after `term_s`; returns when nobody of it is left."""
        self.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + term_s
        with suppress(TimeoutError):
            async with asyncio.timeout(term_s):
                await self.wait()
        while time.monotonic() < deadline and group_members(self.pid):
            await asyncio.sleep(_POLL_S)
        await self.kill()
        return await self.wait()

    async def kill(self) -> list[int]:
        """SIGKILL to whoever is left of the group; gives the pids that would not die in 5 s."""
        deadline = time.monotonic() + 5.0
        while left := group_members(self.pid):
            self.send_signal(signal.SIGKILL)
            if time.monotonic() > deadline:
                return left
            await asyncio.sleep(0.01)
            if self._popen is not None:
                self._popen.poll()
        return []

    async def _until_gone(self) -> None:
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):
            await self._poll_until_gone()
            return
        try:
            if is_alive(self.pid, self.started_at):
                await _readable(descriptor)
        finally:
            os.close(descriptor)

    async def _poll_until_gone(self) -> None:
        while is_alive(self.pid, self.started_at):
            await asyncio.sleep(_POLL_S)

    def _reaped(self) -> Exit:
        if self._popen is None:
            return Exit()
        code = self._popen.wait()
        return Exit(signal=-code) if code < 0 else Exit(returncode=code)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def spawn(
    argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Child:
    """Start a process in a session of its own; both its outputs go to the end of `log` (0600).

    `env` is its whole environment (None: ours). Raises OSError as exec does.
    """
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        popen = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    finally:
        os.close(output)
    return Child(popen.pid, start_time(popen.pid) or 0.0, popen)


def find(pid: int, started_at: float) -> Child | None:
    """A process that an earlier life of ours started, if that very one still runs."""
    return Child(pid, started_at, None) if is_alive(pid, started_at) else None
