"""Many clients at once, in one thread: each has a connection of its own, and all send at once.

A client that is told to come back does so, once, when it was told.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from codes_seen import SEEN

_BLOCK_BYTES = 65536


@dataclass(eq=False)
class Visitor:
    """One client, and what it got."""

    body: bytes
    key: str = ""
    status: int = 0
    ended_at: float = 0.0
    took_s: float = 0.0
    retry_after_s: float = 0.0
    error: dict[str, Any] = field(default_factory=dict)
    again: Visitor | None = None
    """Its second visit, if it was told to come back."""

    def request(self) -> bytes:
        lines = [
            "POST /v1/chat/completions HTTP/1.1",
            "host: 127.0.0.1",
            "content-type: application/json",
            "connection: close",
            f"content-length: {len(self.body)}",
            *([f"authorization: Bearer {self.key}"] if self.key else []),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body

    def take(self, answer: bytes) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1]) if first else 0
        told = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        self.retry_after_s = float(told.get("retry-after", 0))
        if self.status >= 400:
            SEEN.take(body.decode("utf-8", "replace"))
            self.error = dict(json.loads(body)["error"])


class Crowd:
    """All visits of one test; `run` returns when each has ended, or when the time is over."""

    def __init__(self, port: int, *, come_back: bool) -> None:
        self._port = port
        self._come_back = come_back
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, Visitor]] = []
        self._returned: list[Visitor] = []
        self._open = 0

    def run(self, visitors: list[Visitor], within_s: float) -> None:
        connected = [(self._connect(), visitor) for visitor in visitors]
        for sock, visitor in connected:
            self._send(sock, visitor)
        until = time.monotonic() + within_s
        while (self._open or self._due) and time.monotonic() < until:
            for key, _ in self._selector.select(0.02):
                self._read(key.fileobj, key.data)
            now = time.monotonic()
            for one in [one for one in self._due if one[0] <= now]:
                self._due.remove(one)
                self._send(self._connect(), one[1])
        self._selector.close()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=10)

    def _send(self, sock: socket.socket, visitor: Visitor) -> None:
        sock.sendall(visitor.request())
        self._open += 1
        self._selector.register(
            sock, selectors.EVENT_READ, (visitor, time.monotonic(), bytearray())
        )

    def _read(self, sock: Any, data: tuple[Visitor, float, bytearray]) -> None:
        visitor, began, answer = data
        block = sock.recv(_BLOCK_BYTES)
        if not answer:
            visitor.took_s = time.monotonic() - began
        answer += block
        if block:
            return
        self._selector.unregister(sock)
        sock.close()
        self._open -= 1
        visitor.ended_at = time.monotonic()
        visitor.take(bytes(answer))
        if self._come_back and visitor.retry_after_s and visitor not in self._returned:
            visitor.again = Visitor(visitor.body, visitor.key)
            self._returned.append(visitor.again)
            self._due.append((time.monotonic() + visitor.retry_after_s, visitor.again))
