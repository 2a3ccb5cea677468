"""The hive's end of the control protocol: dials the queen, and dials again when she is gone."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from rbee.edge.lines import LineChannel, dial_lines
from rbee.edge.logs import Log
from rbee.settings import Settings
from rbee.version import VERSION
from rbee.wire import control
from rbee.wire.control import FromHive, Happened, Hello, Problem, Refused, ToHive, Welcome
from rbee.wire.unreadable import UNREADABLE

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
_KEPT_FAULTS = 256
"""Faults that are kept for a queen who is away; the oldest go first."""


class QueenLink:
    """One connection at a time. `hello` tells all; `hear` gets every message, Welcome first."""

    def __init__(
        self,
        socket: Path,
        settings: Settings,
        *,
        hello: Callable[[], Hello],
        hear: Callable[[ToHive], None],
        log: Log,
    ) -> None:
        self._socket = socket
        self._settings = settings
        self._hello = hello
        self._hear = hear
        self._log = log
        self._channel: LineChannel | None = None
        self._kept: deque[Happened] = deque(maxlen=_KEPT_FAULTS)
        self.refused: Problem | None = None
        """Set when the queen will not have us: versions differ."""

    @property
    def connected(self) -> bool:
        return self._channel is not None

    def say(self, message: FromHive) -> None:
        """Tell the queen. While she is away faults are kept for her; `Hello` tells the rest."""
        if self._channel is not None:
            self._channel.send(control.encode(message))
        elif isinstance(message, Happened):
            self._kept.append(message)

    async def flush(self) -> None:
        """Wait until what was said has left."""
        if self._channel is not None:
            await self._channel.flush()

    async def run(self) -> None:
        """Keep the link; returns when refused, or when no queen was there for orphan_s."""
        alone_since = time.monotonic()
        pause_s = _FIRST_PAUSE_S
        while time.monotonic() - alone_since < self._settings.timing.orphan_s:
            if await self._once():
                alone_since = time.monotonic()
                pause_s = _FIRST_PAUSE_S
            if self.refused is not None:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    async def _once(self) -> bool:
        """One connection from Hello to its end; whether the queen welcomed us."""
        try:
            channel = await dial_lines(
                self._socket,
                connect_s=self._settings.timing.connect_s,
                limit_bytes=self._settings.bounds.control_message_bytes,
            )
        except OSError:
            return False
        try:
            channel.send(control.encode(self._hello()))
            # From here every change is said behind the Hello: none is missed.
            self._channel = channel
            self._say_kept()
            answer = await self._receive(channel)
            if not self._accepted(answer):
                return False
            while answer is not None:
                self._hear(answer)
                answer = await self._receive(channel)
            return True
        finally:
            self._channel = None
            channel.close()

    def _say_kept(self) -> None:
        while self._kept:
            self.say(self._kept.popleft())

    def _accepted(self, answer: ToHive | None) -> bool:
        if isinstance(answer, Refused):
            self.refused = answer.problem
        return isinstance(answer, Welcome) and answer.version == VERSION

    async def _receive(self, channel: LineChannel) -> ToHive | None:
        line = await channel.receive()
        if line is None:
            return None
        try:
            return control.decode_to_hive(line)
        except UNREADABLE as error:
            self._log.error("the queen said something unreadable", problem=str(error))
            return None
