"""Where workers dial their hive: each proves who it is, then its lines go to its owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from rbee.edge.lines import LineChannel, listen_lines
from rbee.edge.logs import Log
from rbee.hive.worker_owner import WorkerOwner
from rbee.version import VERSION
from rbee.wire.lifeline import WorkerHello, decode_from_worker
from rbee.wire.unreadable import UNREADABLE

_HELLO_WITHIN_S = 5.0


class LifelineServer:
    """Listens on one Unix socket. `find(id)` gives the owner whose process has this id."""

    def __init__(self, find: Callable[[str], WorkerOwner | None], log: Log) -> None:
        self._find = find
        self._log = log
        self._server: asyncio.Server | None = None
        self._open: set[LineChannel] = set()

    async def listen(self, path: Path, limit_bytes: int) -> None:
        self._server = await listen_lines(path, self._serve, limit_bytes=limit_bytes)

    def close(self) -> None:
        """No new lifelines; those that are open break."""
        if self._server is not None:
            self._server.close()
        for channel in tuple(self._open):
            channel.close()

    async def _serve(self, channel: LineChannel) -> None:
        self._open.add(channel)
        try:
            owner = await self._meet(channel)
            if owner is not None:
                await self._relay(channel, owner)
        finally:
            self._open.discard(channel)

    async def _meet(self, channel: LineChannel) -> WorkerOwner | None:
        """Who dialled: the id must be a worker of ours, and the peer that worker's process."""
        try:
            async with asyncio.timeout(_HELLO_WITHIN_S):
                line = await channel.receive()
            hello = decode_from_worker(line or b"")
        except (TimeoutError, *UNREADABLE):
            return None
        if not isinstance(hello, WorkerHello):
            return None
        owner = self._find(hello.id)
        if owner is None or owner.run is None:
            self._log.warning("an unknown worker dialled", worker=hello.id, pid=hello.pid)
            return None
        peer = channel.peer_pid or hello.pid
        if peer != owner.run.child.pid:
            self._log.warning("a worker was refused", worker=hello.id, pid=peer)
            return None
        if hello.version != VERSION and not owner.run.adopted:
            owner.mismatched(hello.version)
            return None
        owner.run.attach(channel)
        owner.heard(hello)
        return owner

    async def _relay(self, channel: LineChannel, owner: WorkerOwner) -> None:
        run = owner.run
        assert run is not None
        while (line := await channel.receive()) is not None:
            try:
                message = decode_from_worker(line)
            except UNREADABLE:
                self._log.warning("a worker said something unreadable", worker=run.id)
                break
            if owner.run is run:
                owner.heard(message)
        run.detach(channel)
