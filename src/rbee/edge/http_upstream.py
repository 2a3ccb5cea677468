"""One connection to an engine: a request out, an answer in, and again if both sides like.

The parser's callbacks only collect; after each read the sink is told once, with everything that
came. `should_keep_alive` is asked inside the callback: afterwards llhttp has forgotten, and the
connection would be lost to the pool in silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from rbee.edge.peer import Ear

_HEAD_BYTES = 64 << 10
_HEADERS = 256
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_UNREAD_BYTES = 256 << 10
"""Body that may wait here before anybody asks for it; then reading pauses."""


class ConnectionLost(Exception):
    """An answer did not come, or not whole. Stays inside rbee: the room that gives up translates it
    into an error of the catalogue. `sent`: the peer may have begun to work on the request."""

    def __init__(self, problem: str, *, sent: bool) -> None:
        super().__init__(problem)
        self.problem = problem
        self.sent = sent


class Sink(Protocol):
    """Takes the body of a streamed answer; called from the loop, never after `Response.close`."""

    def data(self, chunk: bytes) -> None:
        """The next bytes of the body, as many as came at once."""

    def end(self) -> None:
        """The body is complete. Nothing follows."""

    def lost(self, problem: str) -> None:
        """The body was cut. Nothing follows."""


class Response:
    """An answer whose head has come. Take its body with `read` or `stream`, or `close` it: until
    then it holds its connection."""

    def __init__(self, upstream: Upstream, now: float) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        """Names in lower case, in the order that they came."""
        self.last_byte_at = now
        """`loop.time()` when bytes last came (at first: when the request was sent)."""
        self.complete = False
        self.problem: str | None = None
        self.unread_bytes = 0
        self._upstream = upstream
        self._parts: list[bytes] = []
        self._sink: Sink | None = None

    def header(self, name: str) -> str | None:
        """The first value of the header, whose name is given in lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises ConnectionLost if it was cut or is larger than `limit_bytes`.
        A caller that is cancelled closes the connection."""
        whole = _Whole(self, limit_bytes)
        self.stream(whole)
        try:
            return await whole.done
        finally:
            self.close()

    def whole(self, limit_bytes: int) -> bytes | None:
        """The body, if all of it has come already and nobody took it: nothing to wait for."""
        if not self.complete or self._sink is not None or self.unread_bytes > limit_bytes:
            return None
        parts, self._parts = self._parts, []
        self.unread_bytes = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def stream(self, sink: Sink) -> None:
        """Tell `sink` what has come already, at once, and what will come."""
        self._sink = sink
        self.tell()
        if self._sink is sink:
            self._upstream.set_reading(self, True)

    def pause(self) -> None:
        """Read no more until `resume`; the engine is held back by TCP."""
        self._upstream.set_reading(self, False)

    def resume(self) -> None:
        self._upstream.set_reading(self, True)

    def close(self) -> None:
        """Close the connection at once if the body is not complete: the engine sees a hang-up."""
        self._sink = None
        self._parts = []
        self._upstream.give_up(self)

    # The connection tells.

    @property
    def wanted(self) -> bool:
        """Somebody takes the body as it comes."""
        return self._sink is not None

    def take(self, part: bytes) -> None:
        self._parts.append(part)
        self.unread_bytes += len(part)

    def tell(self) -> None:
        """Pass on what has come."""
        sink = self._sink
        if sink is None:
            return
        if self._parts:
            chunk = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts = []
            self.unread_bytes = 0
            sink.data(chunk)
            if self._sink is not sink:
                return
        if self.complete:
            self._sink = None
            sink.end()
        elif self.problem is not None:
            self._sink = None
            sink.lost(self.problem)


class _Whole:
    """Collects a body up to a limit."""

    def __init__(self, response: Response, limit_bytes: int) -> None:
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._response = response
        self._limit_bytes = limit_bytes
        self._parts: list[bytes] = []
        self._size_bytes = 0

    def data(self, chunk: bytes) -> None:
        self._size_bytes += len(chunk)
        if self._size_bytes > self._limit_bytes:
            self._response.close()
            self.lost(f"its answer is larger than {self._limit_bytes} bytes")
            return
        self._parts.append(chunk)

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(b"".join(self._parts))

    def lost(self, problem: str) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionLost(problem, sent=True))


class Upstream(asyncio.Protocol):
    """Owner of one socket. `problem` is set once the connection is of no more use."""

    def __init__(
        self, released: Callable[[Upstream], None], gone: Callable[[Upstream], None]
    ) -> None:
        self.problem: str | None = None
        self.answered = False
        """Bytes of the present answer have come."""
        self._released = released
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._ear: Ear
        self._parser = httptools.HttpResponseParser(self)
        self._response: Response | None = None
        """The answer that is awaited or coming in."""
        self._head: asyncio.Future[None] | None = None
        self._head_only = False
        self._head_done = False
        self._head_bytes = 0
        self._framed = False
        """The head says where the body ends."""
        self._until_close = False
        self._keep_alive = False
        self._reading = True

    @property
    def usable(self) -> bool:
        """Idle and, as far as the kernel knows, alive. A word from an idle peer is its farewell."""
        if self.problem is not None or self._transport.is_closing():
            return False
        return not self._ear.hears()

    async def ask(self, request: bytes, *, head_only: bool) -> Response | None:
        """Send a request and wait for the head of its answer; None: `problem` says why not.
        A caller that is cancelled closes the connection."""
        response = Response(self, self._loop.time())
        self.answered = False
        self._head_only = head_only
        self._head_done = False
        self._head_bytes = 0
        self._framed = False
        if self.problem is not None or self._transport.is_closing():
            self.problem = self.problem or "it closed the connection"
            return None
        self._response = response
        head = self._head = self._loop.create_future()
        self._transport.write(request)
        try:
            await head
        except BaseException:
            self.give_up(response)
            raise
        # Nothing of ours is touched from here on: a whole answer has gone back to the pool, and
        # somebody may have asked anew before this coroutine ran.
        return response if response.status >= 200 else None

    def abort(self) -> None:
        """Close at once; unsent bytes are dropped."""
        if self.problem is None:
            self.problem = "we closed the connection"
        self._transport.abort()

    # The response tells.

    def set_reading(self, response: Response, wanted: bool) -> None:
        if response is self._response:
            self._set_reading(wanted)

    def give_up(self, response: Response) -> None:
        if response is self._response:
            self._response = None
            self.abort()

    # The event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ear = Ear(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            # Idle, or given up: nothing was asked for.
            self.abort()
            return
        self.answered = True
        response.last_byte_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._break(self.problem or f"its answer is not HTTP ({exc})")
            return
        if not self._head_done:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self._break("the head of its answer has no end")
                return
        self._pass_on(response)

    def connection_lost(self, exc: Exception | None) -> None:
        response = self._response
        if self.problem is None:
            where = " in the middle of its answer" if self.answered else ""
            self.problem = f"it closed the connection{where}"
            if exc is None and response is not None and self._until_close and self._head_done:
                response.complete = True
            elif exc is not None:
                self.problem = f"the connection broke{where}: {exc}"
        if response is not None:
            response.problem = self.problem
            self._pass_on(response)
        self._wake()
        self._gone(self)

    # llhttp tells.

    def on_message_begin(self) -> None:
        if self._response is None or self._response.complete:
            self._refuse("it sent more than its answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        response = self._response
        if response is None or self._head_done:
            return
        if len(response.headers) >= _HEADERS:
            self._refuse("the head of its answer has no end")
        key = name.decode("latin-1").lower()
        response.headers.append((key, value.decode("latin-1").strip()))
        if key in _FRAMING:
            self._framed = True

    def on_headers_complete(self) -> None:
        response = self._response
        status = self._parser.get_status_code()
        if response is None:
            return
        if status < 200:
            if status == 101:
                self._refuse("it changed the protocol")
            response.headers.clear()
            self._framed = False
            return
        response.status = status
        self._head_done = True
        self._until_close = not self._framed and status not in (204, 304)
        self._keep_alive = self._parser.should_keep_alive() and not self._until_close
        if self._head_only:
            # llhttp cannot be told that no body follows: this connection is not used again.
            response.complete = True
            self._keep_alive = False

    def on_body(self, part: bytes) -> None:
        if self._response is not None and not self._head_only:
            self._response.take(part)

    def on_message_complete(self) -> None:
        if self._response is not None and self._head_done:
            self._response.complete = True

    # Inside.

    def _refuse(self, problem: str) -> None:
        self.problem = problem
        raise ValueError(problem)

    def _break(self, problem: str) -> None:
        """The peer does not speak HTTP; what it still sends is worth nothing."""
        self.problem = problem
        self._transport.abort()

    def _pass_on(self, response: Response) -> None:
        """After each event: go back to the pool, wake who waits for the head, feed the sink."""
        if response.complete:
            self._response = None
            if self._keep_alive and self.problem is None:
                self._set_reading(True)
                self._released(self)
            else:
                self.abort()
        if self._head_done:
            self._wake()
        if response.wanted:
            response.tell()
        elif response.unread_bytes > _UNREAD_BYTES:
            self.set_reading(response, False)

    def _wake(self) -> None:
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def _set_reading(self, wanted: bool) -> None:
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()
