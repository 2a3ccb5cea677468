"""A small blocking HTTP/1.1 client for the command line: TCP, TLS and Unix sockets.

Light to import, and strict where `http.client` is not: an answer that ends before its length or
its last chunk is `Broken`, never a shorter answer (a dead worker looks like an end).
One request per connection; closing it cancels what it asked for.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbee.edge.peer import keep_asking

_HEAD_BYTES = 256 << 10
_LINE_BYTES = 32 << 20
_READ_BYTES = 64 << 10
_SILENT_S = 12
"""A peer whose kernel answers nothing for so long is gone; a flap of a few seconds is borne."""
_HEX = b"0123456789abcdefABCDEF"


class Broken(Exception):
    """The answer was cut short, or is no HTTP. `sent`: the request may have been acted upon."""

    def __init__(self, problem: str, *, sent: bool = True) -> None:
        super().__init__(problem)
        self.problem = problem
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a Unix socket, or a host and port with an optional path before."""

    unix: Path | None = None
    host: str = ""
    port: int = 0
    tls: bool = False
    prefix: str = ""

    @classmethod
    def from_url(cls, url: str) -> Address:
        """`http://box:7833`, with or without `/v1` behind. Raises ValueError saying why not."""
        from urllib.parse import urlsplit

        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address looks like http://127.0.0.1:7833")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("an address holds no user, question mark or hash sign")
        tls = parts.scheme == "https"
        prefix = parts.path.rstrip("/").removesuffix("/v1")
        return cls(None, parts.hostname, parts.port or (443 if tls else 80), tls, prefix)

    @property
    def authority(self) -> str:
        """The Host header."""
        if self.unix is not None:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Reply:
    """An answer whose head has arrived. Close it to cancel the rest."""

    def __init__(self, sock: socket.socket, on_tick: Callable[[], None]) -> None:
        self._sock = sock
        self._on_tick = on_tick
        self._buffer = bytearray()
        self.status = 0
        self.headers: dict[str, str] = {}

    def header(self, name: str) -> str | None:
        """By lower-case name."""
        return self.headers.get(name)

    def body(self, limit_bytes: int = _LINE_BYTES) -> bytes:
        """All of it. Raises Broken."""
        whole = bytearray()
        for part in self.parts():
            whole += part
            if len(whole) > limit_bytes:
                raise Broken(f"the answer is larger than {limit_bytes} bytes")
        return bytes(whole)

    def lines(self) -> Iterator[bytes]:
        """Lines as they come, without their ends. Raises Broken if the answer is cut."""
        rest = bytearray()
        for part in self.parts():
            first, *others = part.split(b"\n")
            rest += first
            for other in others:
                yield bytes(rest).removesuffix(b"\r")
                rest = bytearray(other)
            if len(rest) > _LINE_BYTES:
                raise Broken("a line of the answer is too long")
        if rest:
            yield bytes(rest)

    def parts(self) -> Iterator[bytes]:
        """The body as it comes. Raises Broken if it is cut."""
        if self.status in (204, 304):
            return
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            yield from self._chunks()
            return
        length = self.headers.get("content-length")
        if length is None:
            raise Broken("the answer does not say where it ends")
        if not length.isdecimal():
            raise Broken("the answer has a length that is no number")
        left = int(length)
        while left:
            part = self._some(left)
            left -= len(part)
            yield part

    def close(self) -> None:
        """End the connection at once."""
        self._sock.close()

    def read_head(self) -> None:
        """The status line and headers; answers of the kind 1xx are passed over. Raises Broken."""
        while True:
            first = self._line().decode("latin-1")
            version, _, rest = first.partition(" ")
            code = rest[:3]
            if not version.startswith("HTTP/1.") or not code.isdecimal() or len(code) != 3:
                raise Broken("what answers there does not speak HTTP")
            self.status = int(code)
            self.headers = self._read_headers()
            if self.status >= 200:
                return

    def _read_headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        size_bytes = 0
        while line := self._line():
            size_bytes += len(line)
            if size_bytes > _HEAD_BYTES:
                raise Broken("the head of the answer is too large")
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise Broken("a header of the answer cannot be read")
            found[name.strip().lower()] = value.strip()
        return found

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = self._line().split(b";", 1)[0].strip()
            if not size or len(size) > 15 or size.strip(_HEX):
                raise Broken("a chunk of the answer has no length")
            left = int(size, 16)
            if not left:
                self._read_headers()
                return
            while left:
                part = self._some(left)
                left -= len(part)
                yield part
            if self._line():
                raise Broken("a chunk of the answer does not end where it should")

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _HEAD_BYTES:
                raise Broken("a line of the answer is too long")
            self._buffer += self._receive()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def _some(self, limit: int) -> bytes:
        if not self._buffer:
            self._buffer += self._receive()
        part = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        return part

    def _receive(self) -> bytes:
        while True:
            try:
                data = self._sock.recv(_READ_BYTES)
            except TimeoutError:
                self._on_tick()
                continue
            except OSError as exc:
                raise Broken(exc.strerror or str(exc)) from exc
            if not data:
                raise Broken("the connection was closed before the end")
            return data


def _nothing() -> None:
    return


def ask(
    address: Address,
    method: str,
    path: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    connect_s: float = 2.0,
    tick_s: float | None = None,
    on_tick: Callable[[], None] = _nothing,
) -> Reply:
    """Send a request and wait for the head of its answer.

    `on_tick` is called each `tick_s` in which nothing arrives; what it raises ends the wait.
    Raises OSError if nobody listens there, Broken if the answer ends before its head.
    """
    sock = _connect(address, connect_s)
    try:
        sock.settimeout(tick_s)
        reply = Reply(sock, on_tick)
        try:
            _send(sock, _request(address, method, path, headers, body), on_tick)
        except OSError as exc:
            # A server that refuses may answer and hang up before it has read everything.
            _answer_or_broken(reply, exc)
        else:
            reply.read_head()
    except BaseException:
        sock.close()
        raise
    return reply


def _answer_or_broken(reply: Reply, cause: OSError) -> None:
    try:
        reply.read_head()
    except Broken:
        raise Broken(cause.strerror or str(cause), sent=False) from cause


def _connect(address: Address, connect_s: float) -> socket.socket:
    if address.unix is not None:
        from rbee.edge.unix_socket import connect_unix

        return connect_unix(address.unix, timeout_s=connect_s)
    sock = socket.create_connection((address.host, address.port), timeout=connect_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_asking(sock, idle_s=_SILENT_S // 3, every_s=_SILENT_S // 3)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_S * 1000)
    if not address.tls:
        return sock
    import ssl

    try:
        return ssl.create_default_context().wrap_socket(sock, server_hostname=address.host)
    except BaseException:
        sock.close()
        raise


def _request(
    address: Address, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes | None
) -> bytes:
    lines = [f"{method} {address.prefix}{path} HTTP/1.1", f"Host: {address.authority}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += ["Connection: close", "", ""]
    if any(ord(letter) < 32 for line in lines for letter in line):
        raise ValueError("a header holds a control character")
    return "\r\n".join(lines).encode("latin-1", "replace") + (body or b"")


def _send(sock: socket.socket, data: bytes, on_tick: Callable[[], None]) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except TimeoutError:
            on_tick()
