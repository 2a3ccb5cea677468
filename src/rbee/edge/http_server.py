"""HTTP/1.1 for every route: one `asyncio.Protocol` on llhttp, for TCP and for the admin socket.

A request in three files: `http_request` (bytes into a `Request`), `http_connection` (order, limits,
hang-ups), `http_exchange` (the answer back into bytes). No task, future or timer per request; one
coarse sweep per server ends what takes too long.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from pathlib import Path

from rbee.edge.http_connection import Connection
from rbee.edge.http_exchange import Exchange
from rbee.edge.http_request import Request
from rbee.edge.unix_socket import listen_unix
from rbee.errors import RbeeError
from rbee.settings import Bounds, Timing
from rbee.wire import problem

__all__ = ["Exchange", "HttpServer", "Request"]

_BACKLOG = 1024
_SWEEP_S = 0.5
_OTHER_FILES = 128
"""Descriptors left for everything that is no client connection."""


class HttpServer:
    """Serves until `close`. `handle` is called on the loop for each complete request and must not
    block; what it raises becomes INTERNAL, or a cut connection if the answer had begun, and is
    told to `on_error` (without one: to the exception handler of the loop)."""

    def __init__(
        self,
        handle: Callable[[Exchange], None],
        bounds: Bounds,
        timing: Timing,
        *,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.bounds = bounds
        self.timing = timing
        self.on_error = on_error
        self.draining = False
        self.open_exchanges = 0
        """Requests that are being answered."""
        self._handle = handle
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._unix_paths: list[tuple[Path, int]] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_s = _sweep_interval_s(timing)
        self._changed = asyncio.Event()
        self._most = min(bounds.connections, _affordable_connections())

    async def listen_tcp(self, host: str, port: int) -> int:
        """Listen, and tell the port that was bound (`port` 0: any). Raises OSError as bind(2)."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Connection(self, admin=False), host, port, backlog=_BACKLOG
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def listen_unix(self, path: Path) -> None:
        """Listen at `path`, mode 0600; requests from there are marked `admin`."""
        loop = asyncio.get_running_loop()
        sock = listen_unix(path)
        self._unix_paths.append((path, path.stat().st_ino))
        self._servers.append(
            await loop.create_unix_server(lambda: Connection(self, admin=True), sock=sock)
        )

    def stop_accepting(self) -> None:
        """No new connections; idle ones end now, others after the answer that they run."""
        self.draining = True
        for server in self._servers:
            server.close()
        self._servers.clear()
        for path, inode in self._unix_paths:
            if path.exists() and path.stat().st_ino == inode:
                path.unlink()
        self._unix_paths.clear()
        for connection in list(self._connections):
            connection.stop()

    async def close(self, grace_s: float) -> None:
        """Wait for running answers, at most `grace_s`; then cut the rest. Nothing stays open."""
        self.stop_accepting()
        try:
            async with asyncio.timeout(grace_s):
                while any(connection.busy for connection in self._connections):
                    await self._change()
        except TimeoutError:
            pass
        for connection in list(self._connections):
            connection.hang_up()
        while self._connections:
            await self._change()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # Connections tell.

    def admit(self, connection: Connection) -> bool:
        """Take a new connection in; False: there are too many."""
        full = len(self._connections) >= self._most
        if full:
            return False
        self._connections.add(connection)
        if self._sweep is None:
            self._arm()
        return True

    def handle_exchange(self, exchange: Exchange) -> None:
        self.open_exchanges += 1
        try:
            self._handle(exchange)
        except Exception as exc:
            self.failed(exc)
            self._give_up(exchange)

    def exchange_ended(self) -> None:
        self.open_exchanges -= 1
        self._changed.set()

    def failed(self, error: BaseException) -> None:
        if self.on_error is not None:
            self.on_error(error)
            return
        context = {"message": "a handler of the HTTP server failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    def gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._changed.set()

    def _give_up(self, exchange: Exchange) -> None:
        if exchange.started:
            exchange.abort()
            return
        report = RbeeError("INTERNAL", problem="the handler of this request failed").report
        headers = [("content-type", "application/json"), *problem.headers(report)]
        exchange.respond(report.status, headers, problem.encode(problem.body(report)))

    def _arm(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(self._sweep_s, self._look_round)

    def _look_round(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            connection.sweep(now)
        self._sweep = None
        if self._connections:
            self._arm()


def _sweep_interval_s(timing: Timing) -> float:
    shortest_s = min(timing.request_head_s, timing.request_body_s, timing.idle_connection_s)
    return max(0.01, min(_SWEEP_S, shortest_s / 4))


def _affordable_connections() -> int:
    """Half of the descriptors that we may open: each request may need one more to a worker."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 30
    return max(16, (soft - _OTHER_FILES) // 2)
