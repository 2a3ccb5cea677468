"""A server for tests: it echoes, or keeps an exchange for the test to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rbee.edge.http_server import Exchange, HttpServer, Request
from rbee.settings import Bounds, Timing
from tests.eventually import soon as until
from tests.http_talk import Talk
from tests.malformed_http import SMALL

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
QUICK = Timing(request_head_s=0.15, request_body_s=0.15, idle_connection_s=0.3)


class House:
    """A server whose handler echoes; paths under /hold wait for the test."""

    def __init__(self, bounds: Bounds, timing: Timing) -> None:
        self.requests: list[Request] = []
        self.held: list[Exchange] = []
        self.hang_ups = 0
        self.faults: list[BaseException] = []
        self.server = HttpServer(self.handle, bounds, timing, on_error=self.faults.append)
        self.port = 0

    def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        self.requests.append(request)
        if request.path.startswith("/hold"):
            exchange.on_closed = self._hung_up
            self.held.append(exchange)
        elif request.path == "/fault":
            raise KeyError("secret")
        elif request.path == "/empty":
            exchange.respond(204, [], b"")
        else:
            body = request.body or request.path.encode()
            exchange.respond(200, [("content-type", "text/plain")], body)

    def _hung_up(self) -> None:
        self.hang_ups += 1

    async def sweeps(self, count: int) -> None:
        """Wait until the server has looked round so many times."""
        for _ in range(count):
            armed = self.server._sweep
            await until(lambda armed=armed: self.server._sweep is not armed)

    async def hold(self, data: bytes, *, talk: Talk | None = None) -> tuple[Talk, Exchange]:
        """Send a request to /hold and wait until the handler has it."""
        talk = talk or await Talk.dial(self.port)
        before = len(self.held)
        await talk.send(data)
        await until(lambda: len(self.held) > before)
        return talk, self.held[-1]


@asynccontextmanager
async def serving(bounds: Bounds = SMALL, timing: Timing | None = None) -> AsyncIterator[House]:
    house = House(bounds, timing or Timing())
    house.port = await house.server.listen_tcp("127.0.0.1", 0)
    try:
        yield house
    finally:
        await house.server.close(0)


def hold(method: str = "GET", *headers: str, version: str = "1.1") -> bytes:
    """A request that the handler keeps for the test."""
    lines = [f"{method} /hold HTTP/{version}", "Host: a", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def fill(exchange: Exchange) -> int:
    """Write until the client is slow; how much that took."""
    sent = 0
    while exchange.write(b"x" * 32768):
        sent += 32768
        assert sent < 64 << 20
        await asyncio.sleep(0)
    return sent + 32768
