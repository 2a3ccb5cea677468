"""One client connection: requests in order, one answer at a time, bounds on everything.

Bytes are fed to the reader in slices, and no further than one complete request behind the one
being answered; the rest waits (`_held`, and in the kernel), with reading paused. So a client that
pipelines costs little, and answers leave strictly in order. The next request is not begun before
the client has taken most of the last answer.

**A client that says nothing more (FIN) may have left, or may only have closed its sending side and
wait for the answer (`nc -N`).** TCP shows both alike; only a write tells: it brings back a reset if
nobody is there. So at FIN we send at once a few bytes of the answer that are certain whatever it
will be (`HTTP/1.1 `, or inside a chunked stream a leading zero of the next chunk's size), and look
for the reset: after PROBE_S, then at each sweep. Whoever left is noticed within a round trip or a
sweep, before a token has to be written; whoever waits gets a correct answer. An HTTP/1.0 stream has
no such bytes: there FIN counts as hanging up. On Unix sockets the kernel tells the two apart.

After the last answer we close our side only and swallow what still comes (`LINGER`): to close at
once would send a reset, which destroys a refusal before a client that is still sending can read it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from typing import Protocol, cast

from rbee.edge.http_exchange import Exchange, render_head
from rbee.edge.http_request import Request, RequestReader, malformed
from rbee.edge.peer import Peer, keep_asking, look_at, user_of
from rbee.errors import RbeeError
from rbee.settings import Bounds, Timing
from rbee.wire import problem

SLICE_BYTES = 8 << 10
PROBE_S = 0.02
BODY_BYTES_PER_S = 64 << 10
"""The slowest upload that is honest work: half a megabit, an old DSL line."""
LINGER_S = 10.0
LINGER_DRAINING_S = 1.0
"""While we stop, nobody waits long for a client that was refused anyway."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Phase(Enum):
    """What the connection waits for; each has a limit."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    LINGER = "linger"


class House(Protocol):
    """The server, as far as a connection needs it."""

    bounds: Bounds
    timing: Timing

    @property
    def draining(self) -> bool: ...

    def admit(self, connection: Connection) -> bool: ...

    def handle_exchange(self, exchange: Exchange) -> None: ...

    def exchange_ended(self) -> None: ...

    def failed(self, error: BaseException) -> None: ...

    def gone(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket. Told by the event loop, by its exchange and by the
    sweep of the server."""

    def __init__(self, house: House, *, admin: bool) -> None:
        self.phase = Phase.IDLE
        self.writable = True
        self._house = house
        self._admin = admin
        self._reader = RequestReader(house.bounds, admin=admin)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._current: Exchange | None = None
        self._queue: deque[Request] = deque()
        self._held = b""
        self._failure: RbeeError | None = None
        self._deaf = False
        """Nothing more is read as a request: the last one has come, or a refusal."""
        self._eof = False
        self._lost = False
        self._advancing = False
        self._reading = True
        self._since_s = self._loop.time()
        self._waiting_bytes = 0
        self._waiting_since_s = self._since_s

    # The event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._house.bounds.write_buffer_bytes)
        sock = transport.get_extra_info("socket")
        if self._admin:
            self._reader.uid = user_of(sock)
        else:
            keep_asking(sock)
        if not self._house.admit(self):
            self._deaf = True
            limit = self._house.bounds.connections
            self._send_error(RbeeError("TOO_MANY_CONNECTIONS", limit=limit, retry_after_s=1))
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._held:
            self._held += data
        else:
            self._feed(data)
        self._advance()

    def eof_received(self) -> bool:
        """Keep our side open as long as an answer is owed and somebody may be there to read it."""
        self._eof = True
        if not self._deaf and self._reader.partial:
            self._refuse(malformed("it ends in the middle"))
        self._deaf = True
        if self.phase is Phase.LINGER or not self._owes:
            return False
        self._probe()
        self._advance()
        return not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._deaf = True
        self._queue.clear()
        self._held = b""
        exchange, self._current = self._current, None
        if exchange is not None:
            self._house.exchange_ended()
            self._call(exchange.lose)
        self._house.gone(self)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        exchange = self._current
        if exchange is not None and exchange.on_writable is not None:
            self._call(exchange.on_writable)
        self._advance()

    # The exchange tells.

    @property
    def keeps_open(self) -> bool:
        """Whether another request may follow the present one."""
        request = self._current.request if self._current else None
        kept = request is not None and request.keep_alive
        more_owed = bool(self._queue) or self._failure is not None
        return kept and not (self._eof and not more_owed) and not self._house.draining

    @property
    def waiting_to_write_bytes(self) -> int:
        return 0 if self._lost else self._transport.get_write_buffer_size()

    def send(self, data: bytes) -> None:
        # uvloop raises on a closed transport where asyncio only counts.
        if not self._lost and not self._transport.is_closing():
            self._transport.write(data)

    def send_soon(self) -> None:
        exchange = self._current
        if exchange is not None:
            self._loop.call_soon(exchange.flush)

    def ended(self, exchange: Exchange) -> None:
        self._current = None
        self._house.exchange_ended()
        if exchange.closes:
            self._close()
        else:
            self._advance()

    def hang_up(self) -> None:
        """Cut the connection now; `connection_lost` tells the exchange."""
        if not self._lost:
            self._transport.abort()

    # The server tells.

    @property
    def busy(self) -> bool:
        """An answer is running, or has not left yet."""
        if self._lost:
            return False
        return self._owes or self.waiting_to_write_bytes > 0

    def stop(self) -> None:
        """The server drains: an idle connection ends now, others after their answer."""
        if self.phase is Phase.IDLE and not self.busy:
            self._close()

    def sweep(self, now: float) -> None:
        """Look, twice a second or so, at everything that only time can end."""
        timing = self._house.timing
        if self._eof or not self._reading:
            self._look()
        if self._client_stuck(now):
            self.hang_up()
            return
        waited_s = now - self._since_s
        if self.phase is Phase.HEAD and waited_s >= timing.request_head_s:
            self._refuse(RbeeError("REQUEST_TIMEOUT", limit_s=timing.request_head_s))
        elif self.phase is Phase.BODY and waited_s >= self._body_limit_s():
            self._refuse(RbeeError("REQUEST_TIMEOUT", limit_s=timing.request_body_s))
        elif self.phase is Phase.IDLE and waited_s >= timing.idle_connection_s:
            self._close()
        elif self.phase is Phase.LINGER:
            limit_s = LINGER_DRAINING_S if self._house.draining else LINGER_S
            if waited_s >= limit_s:
                self.hang_up()

    # Inside.

    @property
    def _owes(self) -> bool:
        return self._current is not None or bool(self._queue) or self._failure is not None

    def _feed(self, data: bytes) -> None:
        position = 0
        while position < len(data) and not self._deaf:
            if self._queue:
                self._held = data[position:]
                return
            end = position + SLICE_BYTES
            self._read(data[position:end] if end < len(data) or position else data)
            position = end

    def _read(self, piece: bytes) -> None:
        completed = self._reader.completed
        try:
            self._reader.feed(piece)
        except RbeeError as error:
            # Bytes after a request with `Connection: close` are nobody's.
            if not completed or completed[-1].keep_alive:
                self._failure = error
            self._deaf = True
        for request in completed:
            self._queue.append(request)
            if not request.keep_alive:
                self._deaf = True
        completed.clear()

    def _advance(self) -> None:
        """Do all that can be done now. Handlers call back into here; the outermost call works."""
        if self._advancing or self._lost:
            return
        self._advancing = True
        try:
            while self._current is None and self.writable and not self._transport.is_closing():
                if self._queue:
                    self._begin(self._queue.popleft())
                elif self._held:
                    data, self._held = self._held, b""
                    self._feed(data)
                elif self._failure is not None:
                    error, self._failure = self._failure, None
                    self._send_error(error)
                    self._close()
                else:
                    break
        finally:
            self._advancing = False
        self._settle()

    def _begin(self, request: Request) -> None:
        exchange = self._current = Exchange(self, request)
        self._house.handle_exchange(exchange)
        if self._eof and self._current is not None:
            self._probe()

    def _settle(self) -> None:
        """After all work: what do we wait for now, and do we want to hear more?"""
        if self._lost or self._transport.is_closing():
            return
        if self.phase is not Phase.LINGER:
            self._set_phase()
        self._set_reading(not self._held)
        if self._current is None and self._reader.wants_continue and not self._deaf:
            self._reader.wants_continue = False
            self.send(_CONTINUE)
        if self._eof and not self._owes:
            self._transport.close()

    def _set_phase(self) -> None:
        if self._owes or self._held:
            phase = Phase.ANSWER
        elif self._reader.in_head:
            phase = Phase.HEAD
        else:
            phase = Phase.BODY if self._reader.in_body else Phase.IDLE
        if phase is not self.phase or self._reader.told_of_request:
            self._reader.told_of_request = False
            self.phase = phase
            self._since_s = self._loop.time()

    def _set_reading(self, wanted: bool) -> None:
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _refuse(self, error: RbeeError) -> None:
        self._failure = error
        self._deaf = True
        self._advance()

    def _send_error(self, error: RbeeError) -> None:
        body = problem.encode(problem.body(error.report))
        headers = [("content-type", "application/json"), *problem.headers(error.report)]
        more = [("content-length", str(len(body))), ("connection", "close")]
        self.send(render_head(error.report.status, headers, more) + body)

    def _close(self) -> None:
        """End after what was written has left."""
        unread = self._deaf or bool(self._held)
        self._deaf = True
        self._queue.clear()
        self._held = b""
        if self._lost or self._transport.is_closing():
            return
        if self._eof or not unread:
            self._transport.close()
            return
        self.phase = Phase.LINGER
        self._since_s = self._loop.time()
        self._set_reading(True)
        self._transport.write_eof()

    def _probe(self) -> None:
        if self._current is not None:
            early = self._current.early_bytes()
            if early is None:
                self.hang_up()
                return
            if not early:
                return
            self._current.flush()
            self.send(early)
            self._loop.call_later(PROBE_S, self._look)

    def _look(self) -> None:
        if self._lost or self._transport.is_closing():
            return
        peer = look_at(self._transport.get_extra_info("socket"))
        if peer is Peer.GONE:
            self.hang_up()
        elif peer is Peer.SILENT and not self._eof:
            # Reading is paused, so the loop has not told us; what is unread may be requests.
            self._probe()

    def _body_limit_s(self) -> float:
        """A slow but steady upload earns time by what it sends; a trickle does not."""
        earned_s = self._reader.body_bytes / BODY_BYTES_PER_S
        return self._house.timing.request_body_s + earned_s

    def _client_stuck(self, now: float) -> bool:
        """Bytes wait for the client, and it has taken none of them for the idle limit."""
        waiting = self.waiting_to_write_bytes
        if waiting == 0 or waiting != self._waiting_bytes:
            self._waiting_bytes = waiting
            self._waiting_since_s = now
            return False
        return now - self._waiting_since_s >= self._house.timing.idle_connection_s

    def _call(self, callback: object) -> None:
        try:
            callback()  # type: ignore[operator]
        except Exception as exc:
            self._house.failed(exc)
