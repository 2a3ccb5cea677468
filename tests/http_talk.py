"""A raw HTTP client for tests: real sockets, bytes as they are, answers parsed by h11.

h11 is not the parser that we ship, so a mistake of ours is not hidden by making it twice.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11

LIMIT_S = 10.0


@dataclass(frozen=True)
class Answer:
    """One answer, whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The shaped error inside; fails if it is none."""
        error = json.loads(self.body)["error"]
        assert self.headers["content-type"] == "application/json"
        assert {"message", "type", "code", "retryable", "action", "details"} <= set(error)
        return dict(error)


class Talk:
    """One connection, driven by hand."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    @classmethod
    async def dial(cls, port: int, *, receive_bytes: int = 0) -> Talk:
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock)

    @classmethod
    async def dial_unix(cls, path: Path) -> Talk:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, str(path))
        return cls(sock)

    async def send(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(loop.sock_sendall(self.sock, data), LIMIT_S)

    async def receive(self, size_bytes: int = 65536) -> bytes:
        """What comes next; empty at the end."""
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.sock_recv(self.sock, size_bytes), LIMIT_S)

    async def receive_until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            more = await self.receive()
            assert more, f"the connection ended with {data!r}"
            data += more
        return data

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        data = b""
        while more := await self.receive():
            data += more
        return data

    def shut(self) -> None:
        """Say that we send nothing more, and go on listening."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Leave without manners: the server gets RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def answers(data: bytes, methods: str = "") -> list[Answer]:
    """Parse everything that a server sent until it closed. `methods`: space-separated, of the
    requests (GET if fewer). Fails on bytes that are not whole, correct answers."""
    found: list[Answer] = []
    asked = methods.split()
    client = h11.Connection(h11.CLIENT)
    client.receive_data(data)
    client.receive_data(b"")
    while True:
        method = asked[len(found)] if len(found) < len(asked) else "GET"
        client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        client.send(h11.EndOfMessage())
        answer = _one(client)
        if answer is None:
            return found
        found.append(answer)
        if client.our_state is not h11.DONE or client.their_state is not h11.DONE:
            trailing, _ = client.trailing_data
            assert not trailing, f"bytes after the last answer: {trailing!r}"
            return found
        if not client.trailing_data[0]:
            return found
        client.start_next_cycle()


def _one(client: h11.Connection) -> Answer | None:
    head: h11.Response | None = None
    body = b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Answer(head.status_code, headers, body)
        elif isinstance(event, h11.InformationalResponse):
            continue
        else:
            return None


async def ask(port: int, data: bytes, *, shut: bool = False, methods: str = "") -> list[Answer]:
    """Dial, send, and read until the server closes."""
    talk = await Talk.dial(port)
    try:
        await talk.send(data)
        if shut:
            talk.shut()
        return answers(await talk.rest(), methods)
    finally:
        talk.close()
