"""The engine as a child of the worker: started so that it cannot outlive it, watched, ended."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

END_S = 0.5
"""From SIGTERM to SIGKILL: a worker has drained before it is told to stop and shall be gone within
1 s. The engine needs 0.03 s when idle (measured) and `sse_ping_interval` with a stream open."""

_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1


class EngineProcess:
    """One run of an engine. `on_exit` is called once, in the event loop, when it has ended.

    To be made before any thread: its child runs a few lines of Python before it is the engine.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], on_exit: Callable[[], None]
    ) -> None:
        """Start it. Raises OSError when the program cannot be started."""
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - no thread runs yet
        )
        self.pid = self._process.pid
        self._watch()

    @property
    def returncode(self) -> int | None:
        """As subprocess has it: negative is a signal; None while it runs."""
        return self._process.returncode

    @property
    def resident_bytes(self) -> int:
        """Memory that it holds now, mapped file pages included; 0 where that cannot be read."""
        try:
            fields = Path(f"/proc/{self.pid}/statm").read_bytes().split()
        except OSError:
            return 0
        return int(fields[1]) * resource.getpagesize()

    def end(self) -> None:
        """Ask it to end now, and see to it after `END_S`."""
        if self._process.returncode is None:
            self._process.terminate()
            self._loop.call_later(END_S, self._kill)

    def _kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    def _watch(self) -> None:
        try:
            descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self._poll()
            return

        def ended() -> None:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
            self._process.wait()
            self._on_exit()

        self._loop.add_reader(descriptor, ended)

    def _poll(self) -> None:
        if self._process.poll() is None:
            self._loop.call_later(_POLL_S, self._poll)
        else:
            self._on_exit()


def exit_as(returncode: int) -> None:
    """End this process as the engine ended, so that whoever waits for it sees the same."""
    sys.stdout.flush()
    sys.stderr.flush()
    if returncode >= 0:
        os._exit(returncode)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    number = -returncode
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child does before it becomes the engine, on Linux: ask to be killed with us."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask
