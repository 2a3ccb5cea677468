"""Lines of JSON over a Unix socket: the pipe of the control and lifeline protocols.

Both directions are bounded: a line longer than `limit_bytes` or a peer that lets that much pile up
unread is cut off; both protocols tell everything anew on a new connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from rbee.edge.unix_socket import connect_unix, listen_unix


class LineChannel:
    """One connection; `receive` gives whole lines in order, `send` never waits."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit_bytes: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limit_bytes = limit_bytes

    @property
    def closed(self) -> bool:
        return self._writer.is_closing()

    @property
    def peer_pid(self) -> int:
        """The process at the other end, as the kernel says (unix(7)); 0 where it does not."""
        option = getattr(socket, "SO_PEERCRED", None)
        sock = self._writer.get_extra_info("socket")
        if option is None or sock is None:
            return 0
        pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, 12))
        return int(pid)

    def send(self, line: bytes) -> None:
        """Queue a line (newline included); a peer that does not read is cut off."""
        if self._writer.is_closing():
            return
        self._writer.write(line)
        if self._writer.transport.get_write_buffer_size() > self._limit_bytes:
            self._writer.transport.abort()

    async def receive(self) -> bytes | None:
        """The next line, or None when the peer is gone or broke the bound."""
        try:
            line = await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            self.close()
            return None
        return line

    async def flush(self) -> None:
        """Wait until what was sent has left; a gone peer is no error here."""
        try:
            await self._writer.drain()
        except OSError:
            self.close()

    def close(self) -> None:
        self._writer.close()


async def listen_lines(
    path: Path, serve: Callable[[LineChannel], Awaitable[None]], *, limit_bytes: int
) -> asyncio.Server:
    """Serve each connection with one call of `serve`; its channel is closed when that returns."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = LineChannel(reader, writer, limit_bytes)
        try:
            await serve(channel)
        finally:
            channel.close()

    return await asyncio.start_unix_server(connected, sock=listen_unix(path), limit=limit_bytes)


async def dial_lines(path: Path, *, connect_s: float, limit_bytes: int) -> LineChannel:
    """Connect. Raises OSError if nobody listens."""
    sock = connect_unix(path, timeout_s=connect_s)
    sock.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=sock, limit=limit_bytes)
    return LineChannel(reader, writer, limit_bytes)
