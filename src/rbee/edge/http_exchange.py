"""One request and its answer, as the rooms above see them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Protocol

from rbee.edge.http_request import Request

Headers = Sequence[tuple[str, str]]

STATUS_PREFIX = b"HTTP/1.1 "
LAST_CHUNK = b"0\r\n\r\n"

_NO_BODY = frozenset({204, 304})
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Carrier(Protocol):
    """The connection, as far as an exchange needs it."""

    @property
    def keeps_open(self) -> bool: ...

    @property
    def writable(self) -> bool: ...

    @property
    def waiting_to_write_bytes(self) -> int: ...

    def send(self, data: bytes) -> None: ...

    def send_soon(self) -> None:
        """Call `flush` of the exchange before the loop waits again."""

    def ended(self, exchange: Exchange) -> None: ...

    def hang_up(self) -> None: ...


class Exchange:
    """A complete request, and the one answer to it: `respond`, or `start`, `write`…, `finish`.

    Once `closed`, everything written is dropped in silence. The callbacks are called from the loop,
    `on_closed` at most once and never after `finish`; look at `closed` before setting it late.
    """

    __slots__ = (
        "_carrier",
        "_chunked",
        "_close",
        "_early",
        "_mute",
        "_pending",
        "_probed",
        "closed",
        "finished",
        "on_closed",
        "on_writable",
        "request",
        "started",
    )

    def __init__(self, carrier: Carrier, request: Request) -> None:
        self.request = request
        self.closed = False
        """The client hung up, or the connection was cut, before the answer was complete."""
        self.started = False
        self.finished = False
        self.on_closed: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self._carrier = carrier
        self._pending = b""
        self._chunked = False
        self._mute = request.method == "HEAD"
        self._early = 0
        self._probed = False
        self._close = False

    @property
    def waiting_to_write_bytes(self) -> int:
        """Bytes that the client has not yet taken from us."""
        return 0 if self.closed else self._carrier.waiting_to_write_bytes + len(self._pending)

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole answer, with its length. Raises ValueError for a header with CR, LF or NUL."""
        if self.closed:
            return
        self._begin()
        bare = status in _NO_BODY
        more = [] if bare else [("content-length", str(len(body)))]
        head = self._head(status, headers, more)
        self.finished = True
        self._carrier.send(head if bare or self._mute else head + body)
        self._carrier.ended(self)

    def start(self, status: int, headers: Headers) -> None:
        """Begin an answer of unknown length. Raises ValueError for a header with CR, LF or NUL."""
        if self.closed:
            return
        self._begin()
        self._mute = self._mute or status in _NO_BODY
        self._chunked = not self.request.http_1_0
        self._close = self._close or not self._chunked
        more = [("transfer-encoding", "chunked")] if self._chunked and status != 204 else []
        # Held until the first bytes or the end of this turn of the loop: one packet, not two.
        self._pending = self._head(status, headers, more)
        self._early = 0
        self._carrier.send_soon()

    def write(self, data: bytes) -> bool:
        """Send a part of the body. False: the client is slow; pause the source until
        `on_writable`. True when closed: there is nothing to wait for."""
        if self.closed or not data:
            return True
        if not self.started or self.finished:
            raise RuntimeError("write before start or after finish")
        if self._mute:
            return True
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._pending:
            data = self._pending + data
            self._pending = b""
        self._carrier.send(data)
        return self._carrier.writable

    def finish(self) -> None:
        """The body is complete."""
        if self.closed or self.finished:
            return
        if not self.started:
            raise RuntimeError("finish before start")
        self.finished = True
        tail = LAST_CHUNK if self._chunked and not self._mute else b""
        data = self._pending + tail
        self._pending = b""
        if data:
            self._carrier.send(data)
        self._carrier.ended(self)

    def abort(self) -> None:
        """Cut the connection: the client sees that the answer is not whole."""
        if not self.closed and not self.finished:
            self._carrier.hang_up()

    # For the connection only.

    @property
    def closes(self) -> bool:
        """The connection ends after this answer."""
        return self._close

    def flush(self) -> None:
        """Send a head that still waits for the first part of the body."""
        if self._pending and not self.closed:
            self._carrier.send(self._pending)
            self._pending = b""

    def early_bytes(self) -> bytes | None:
        """Bytes of the answer that are certain already, to find out whether anybody is there.
        Empty the second time; None if there are no such bytes."""
        if self._probed:
            return b""
        self._probed = True
        if not self.started:
            self._early = len(STATUS_PREFIX)
            return STATUS_PREFIX
        # A chunk's size may have leading zeros, the last one's `0` too (RFC 9112 7.1).
        return b"0" if self._chunked and not self._mute else None

    def lose(self) -> None:
        """The connection is gone."""
        if self.closed or self.finished:
            return
        self.closed = True
        self._pending = b""
        if self.on_closed is not None:
            self.on_closed()

    def _begin(self) -> None:
        if self.started:
            raise RuntimeError("the answer has begun already")
        self.started = True
        self._close = not self._carrier.keeps_open

    def _head(self, status: int, headers: Headers, more: Headers) -> bytes:
        if self._close:
            more = [*more, ("connection", "close")]
        elif self.request.http_1_0:
            more = [*more, ("connection", "keep-alive")]
        try:
            return render_head(status, headers, more)[self._early :]
        except ValueError:
            self.started = False
            raise


def render_head(status: int, headers: Headers, more: Headers) -> bytes:
    """Status line and headers. Raises ValueError for what would break out of its line."""
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    lines += [f"{name}: {value}\r\n" for name, value in more]
    block = "".join(lines)
    if block.count("\r") != len(lines) or block.count("\n") != len(lines) or "\0" in block:
        raise ValueError("a header with CR, LF or NUL")
    line = f"HTTP/1.1 {status} {_phrase(status)}\r\ndate: {_dates.text()}\r\n"
    return f"{line}{block}\r\n".encode("latin-1")


_PHRASES = {int(status): status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "Unknown")


class _Dates:
    """The date of answers, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def text(self) -> str:
        second = int(time.time())
        if second != self._second:
            at = time.gmtime(second)
            self._second = second
            self._text = (
                f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year}"
                f" {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
            )
        return self._text


_dates = _Dates()
