"""The worker's end of the lifeline: kept dialled, everything said anew on each connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from rbee.edge.lines import LineChannel, dial_lines
from rbee.wire import lifeline
from rbee.wire.unreadable import UNREADABLE

REDIAL_S = 0.2
_CONNECT_S = 1.0
_LINE_BYTES = 1 << 20


class Lifeline:
    """Dials the hive, and dials again until `orphan_s` have passed without it.

    `standing()` gives what a hive must hear on each connection, `on_stop` is called when it says
    Stop, `on_orphaned` once, when it stayed away for too long.
    """

    def __init__(
        self,
        path: Path,
        orphan_s: float,
        *,
        standing: Callable[[], list[lifeline.FromWorker]],
        on_stop: Callable[[], None],
        on_orphaned: Callable[[], None],
    ) -> None:
        self._path = path
        self._orphan_s = orphan_s
        self._standing = standing
        self._on_stop = on_stop
        self._on_orphaned = on_orphaned
        self._channel: LineChannel | None = None
        self._up = asyncio.Event()

    def say(self, message: lifeline.FromWorker) -> None:
        """Tell the hive; without one nothing is kept, `standing` tells the next."""
        if self._channel is not None:
            self._channel.send(lifeline.encode(message))

    async def connected(self, limit_s: float) -> None:
        """Wait until a hive listens, at most so long."""
        try:
            async with asyncio.timeout(limit_s):
                await self._up.wait()
        except TimeoutError:
            return

    async def flush(self, limit_s: float) -> None:
        """Wait until what was said has left, at most so long."""
        if self._channel is None:
            return
        try:
            async with asyncio.timeout(limit_s):
                await self._channel.flush()
        except TimeoutError:
            return

    async def keep(self) -> None:
        """Runs until the worker is an orphan; cancelled when the worker ends."""
        loop = asyncio.get_running_loop()
        broken_at = loop.time()
        while loop.time() - broken_at < self._orphan_s:
            try:
                channel = await dial_lines(
                    self._path, connect_s=_CONNECT_S, limit_bytes=_LINE_BYTES
                )
            except OSError:
                await asyncio.sleep(REDIAL_S)
                continue
            if await self._serve(channel):
                broken_at = loop.time()
            else:
                await asyncio.sleep(REDIAL_S)
        self._on_orphaned()

    async def _serve(self, channel: LineChannel) -> bool:
        """One connection, to its end; false if it ended at once, as nobody serves it."""
        started_at = asyncio.get_running_loop().time()
        self._channel = channel
        for message in self._standing():
            self.say(message)
        self._up.set()
        try:
            while line := await channel.receive():
                self._hear(line)
        finally:
            self._channel = None
            self._up.clear()
            channel.close()
        return asyncio.get_running_loop().time() - started_at > REDIAL_S

    def _hear(self, line: bytes) -> None:
        try:
            lifeline.decode_to_worker(line)
        except UNREADABLE:
            return
        self._on_stop()
