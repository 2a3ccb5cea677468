"""HTTP/1.1 to engines: connections kept and used again, no task or future per chunk, no retries.

The one thing done twice: a kept connection that the engine closed before it sent any byte of the
answer is replaced by a fresh one, once. That is how HTTP/1.1 servers end idle connections
(cpp-httplib after 5 s or 100 requests), and no caller could tell. All other retries are the
caller's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from rbee.edge.http_upstream import ConnectionLost, Response, Sink, Upstream
from rbee.edge.peer import keep_asking
from rbee.policy.access import is_loopback

__all__ = ["ConnectionLost", "Endpoint", "HttpClient", "Response", "Sink"]


class Endpoint(NamedTuple):
    """Where an engine listens."""

    host: str
    port: int
    tls: bool = False

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.tls else 80)
        return host if usual else f"{host}:{self.port}"


class HttpClient:
    """A pool of connections per endpoint; the one used last is used first, so that the others can
    age. `idle_max` bounds those kept per endpoint. Another machine is gone if its kernel answers
    nothing for `gone_s`."""

    def __init__(self, connect_s: float, idle_max: int = 64, *, gone_s: float = 12.0) -> None:
        self.connects = 0
        """Connections made so far."""
        self._connect_s = connect_s
        self._idle_max = idle_max
        self._gone_s = gone_s
        self._idle: dict[Endpoint, list[Upstream]] = {}
        self._all: dict[Upstream, Endpoint] = {}
        self._closed = False
        self._trust: ssl.SSLContext | None = None
        self._empty = asyncio.Event()

    async def request(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes = b"",
        *,
        more: Sequence[tuple[str, str]] = (),
    ) -> Response:
        """Send a request; returns when the head of the answer is in. `content-length` is added.
        `more`: headers that are others each time; the rest of a head is rendered once.

        Raises ConnectionLost; `sent` is False if nobody took the request. A caller that is
        cancelled closes the connection, so that the engine stops. Raises ValueError for a path or
        header that would break out of its line.
        """
        raw = _render(endpoint, method, path, headers, body, more)
        kept = self._take(endpoint)
        if kept is not None:
            response = await kept.ask(raw, head_only=method == "HEAD")
            if response is not None:
                return response
            if kept.answered:
                raise ConnectionLost(kept.problem or "no answer", sent=True)
        fresh = await self._dial(endpoint)
        response = await fresh.ask(raw, head_only=method == "HEAD")
        if response is None:
            raise ConnectionLost(fresh.problem or "no answer", sent=True)
        return response

    async def close(self) -> None:
        """Close every connection, those in use too."""
        self._closed = True
        for upstream in list(self._all):
            upstream.abort()
        while self._all:
            self._empty.clear()
            await self._empty.wait()

    def _take(self, endpoint: Endpoint) -> Upstream | None:
        idle = self._idle.get(endpoint)
        while idle:
            upstream = idle.pop()
            if upstream.usable:
                return upstream
            upstream.abort()
        return None

    async def _dial(self, endpoint: Endpoint) -> Upstream:
        if self._closed:
            raise ConnectionLost("this client is closed", sent=False)
        loop = asyncio.get_running_loop()
        if endpoint.tls and self._trust is None:
            self._trust = await asyncio.to_thread(ssl.create_default_context)
        try:
            async with asyncio.timeout(self._connect_s):
                transport, upstream = await loop.create_connection(
                    lambda: Upstream(self._released, self._gone),
                    endpoint.host,
                    endpoint.port,
                    ssl=self._trust if endpoint.tls else None,
                )
        except TimeoutError as exc:
            raise ConnectionLost(f"no connection within {self._connect_s} s", sent=False) from exc
        except OSError as exc:
            raise ConnectionLost(_said_by(exc), sent=False) from exc
        if not is_loopback(endpoint.host):
            _watch(transport.get_extra_info("socket"), self._gone_s)
        self.connects += 1
        self._all[upstream] = endpoint
        return upstream

    def _released(self, upstream: Upstream) -> None:
        endpoint = self._all.get(upstream)
        if endpoint is None or self._closed:
            upstream.abort()
            return
        idle = self._idle.setdefault(endpoint, [])
        if len(idle) >= self._idle_max:
            idle.pop(0).abort()
        idle.append(upstream)

    def _gone(self, upstream: Upstream) -> None:
        endpoint = self._all.pop(upstream, None)
        idle = self._idle.get(endpoint) if endpoint is not None else None
        if idle is not None and endpoint is not None:
            if upstream in idle:
                idle.remove(upstream)
            if not idle:
                del self._idle[endpoint]
        self._empty.set()


def _watch(sock: socket.socket, gone_s: float) -> None:
    """Another machine may vanish without a word, unlike a process of this one."""
    every_s = max(1, round(gone_s / 3))
    keep_asking(sock, idle_s=every_s, every_s=every_s)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(gone_s * 1000))


def _said_by(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {exc.verify_message}"
    if isinstance(exc, ssl.SSLError):
        return f"it speaks no TLS that we know: {exc.reason or exc}".lower()
    if isinstance(exc, socket.gaierror):
        return "its name cannot be resolved"
    return os.strerror(exc.errno).lower() if exc.errno else str(exc)


def _render(
    endpoint: Endpoint,
    method: str,
    path: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    more: Sequence[tuple[str, str]],
) -> bytes:
    head = _head(endpoint, method, path, tuple(headers))
    if more:
        head += _lines([f"{name}: {value}\r\n" for name, value in more])
    if body or method not in ("GET", "HEAD"):
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
    return head + b"\r\n"


@lru_cache(maxsize=256)
def _head(
    endpoint: Endpoint, method: str, path: str, headers: tuple[tuple[str, str], ...]
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1\r\n"]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append(f"host: {endpoint.authority}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in headers]
    if " " in path or not path.isascii():
        raise ValueError("a path that would break out of its line")
    return _lines(lines)


def _lines(lines: list[str]) -> bytes:
    block = "".join(lines)
    if block.count("\r") != len(lines) or block.count("\n") != len(lines) or "\0" in block:
        raise ValueError("a path or header that would break out of its line")
    return block.encode("latin-1")
