"""An engine for tests: a raw socket that plays a script, badly if asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from rbee.edge.http_client import Endpoint, HttpClient, Response
from tests.eventually import soon as until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9\r\ndata: 1\n\n\r\n9;x=y\r\ndata: 2\n\n\r\n0\r\nT: v\r\n\r\n"
)
CHUNKED_BODY = b"data: 1\n\ndata: 2\n\n"


Script = Callable[["Engine", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Engine:
    """A raw socket that plays a script for each connection."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.requests: list[bytes] = []
        self.ended = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.endpoint = Endpoint("127.0.0.1", 0)

    async def next_request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        whole = head + await reader.readexactly(length)
        self.requests.append(whole)
        return whole

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            await self.script(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended += 1
            writer.close()


class Tape:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.calls: list[str] = []
        self.problem = ""

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def data(self, chunk: bytes) -> None:
        self.parts.append(chunk)
        self.calls.append("data")

    def end(self) -> None:
        self.calls.append("end")

    def lost(self, problem: str) -> None:
        self.calls.append("lost")
        self.problem = problem


@asynccontextmanager
async def playing(script: Script, **options: int) -> AsyncIterator[tuple[Engine, HttpClient]]:
    engine = Engine(script)
    server = await asyncio.start_server(engine.connected, "127.0.0.1", 0)
    engine.endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    client = HttpClient(2.0, **options)
    try:
        yield engine, client
    finally:
        await client.close()
        server.close()
        for writer in engine.writers:
            writer.close()
        await until(lambda: engine.ended == engine.connections)


def always(answer: bytes, *, close: bool = False) -> Script:
    """Answer each request so; `close` ends the connection after the first."""

    async def script(
        engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            await engine.next_request(reader)
            writer.write(answer)
            await writer.drain()
            if close:
                return

    return script


async def get(engine: Engine, client: HttpClient, *, method: str = "GET") -> Response:
    return await client.request(engine.endpoint, method, "/x", [("authorization", "Bearer k")])
