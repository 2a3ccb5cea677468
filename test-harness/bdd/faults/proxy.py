"""Stands between rbee and a server, and breaks the answer that it is told to break, once; or is
sick for good: it cuts every answer, slows it down, or holds it back.

What it does not break it passes on as it comes. Faults come after so many events of a stream.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_BLOCK_BYTES = 65536
_TRICKLE_S = 0.1
_LIMIT_S = 60.0
PACE = threading.Event()
"""Never set: a wait for it is the time between two bytes."""
FINISH = b'"finish_reason": "'
FAULTS = frozenset(
    {
        "cuts it",
        "resets it",
        "falls silent",
        "garbles an event",
        "drops the finish",
        "lets it trickle",
    }
)


@dataclass
class Arm:
    """A fault that waits for an answer; it strikes one, through whatever proxy that comes."""

    fault: str
    after: int
    struck: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        assert self.fault in FAULTS, self.fault

    def strikes(self, part: bytes, events: int) -> bool:
        """Whether it is this event's turn; True once."""
        due = FINISH in part if self.fault == "drops the finish" else events > self.after
        with self._lock:
            if not due or self.struck:
                return False
            self.struck = True
            return True


@dataclass
class Sickness:
    """What befalls every answer."""

    cuts_after: int | None = None
    """So many events."""
    pause_s: float = 0.0
    """Before each event."""
    gate: threading.Event | None = None
    """Nothing goes out before it is set."""


class Proxy:
    """Listens on a port of its own; breaks what its `arm` and its `sickness` say."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.arm: Arm | None = None
        self.sickness = Sickness()
        self.asked = 0
        """Requests for answers that came this way."""
        self._sockets: list[socket.socket] = []

    def run(self) -> None:
        """Until closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def close(self) -> None:
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self, client: socket.socket) -> None:
        """One thread for both ways: a socket that another one waits on is not closed by `close`."""
        with contextlib.suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self._server_port), timeout=_LIMIT_S)
            self._sockets += [client, server]
            try:
                self._carry(client, server)
            finally:
                client.close()
                server.close()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        cutter = _Cutter()
        while True:
            ready, _, _ = select.select([client, server], [], [], _LIMIT_S)
            for one in ready:
                block = one.recv(_BLOCK_BYTES)
                if not block:
                    return
                if one is client:
                    if block.startswith((b"POST ", b"GET ")):
                        cutter.asked = block.startswith(b"POST ")
                        self.asked += cutter.asked
                    cutter.events = 0
                    server.sendall(block)
                elif not self._answer(cutter.take(block), cutter, client):
                    return

    def _answer(self, parts: list[bytes], cutter: _Cutter, client: socket.socket) -> bool:
        """Pass on what the server said. False: the connection has no more to say."""
        for part in parts:
            cutter.events += b"data: " in part
            if cutter.asked and not self._is_well(part, cutter, client):
                return False
            arm = self.arm
            if arm is not None and arm.strikes(part, cutter.events):
                changed = _strike(arm.fault, part, client)
                if changed is None:
                    return False
                client.sendall(changed)
            else:
                client.sendall(part)
        return True

    def _is_well(self, part: bytes, cutter: _Cutter, client: socket.socket) -> bool:
        """Whether the connection may go on."""
        sick = self.sickness
        if sick.gate is not None:
            sick.gate.wait(_LIMIT_S)
        if sick.pause_s and b"data: " in part:
            PACE.wait(sick.pause_s)
        if sick.cuts_after is not None and cutter.events > sick.cuts_after:
            client.sendall(part[: len(part) // 2])
            return False
        return True


class _Cutter:
    """Cuts what a server says after each event; what is no event goes through at once."""

    def __init__(self) -> None:
        self.events = 0
        self.asked = False
        """What goes through is an answer, not what a server says of itself."""
        self._held = b""

    def take(self, block: bytes) -> list[bytes]:
        *whole, held = (self._held + block).split(b"\n\n")
        parts = [part + b"\n\n" for part in whole]
        over = held.endswith(b"\r\n0\r\n\r\n")
        if b"data: " in held or (held.startswith(b"\r\n") and not over):
            self._held = held
            return parts
        self._held = b""
        return [*parts, held]


def _strike(fault: str, part: bytes, client: socket.socket) -> bytes | None:
    """Do it; what of the event still goes out, or None if the connection has no more to say."""
    if fault == "garbles an event":
        return part.replace(b'"choices"', b'"cho\xffces"').replace(b": [", b": ]")
    if fault == "drops the finish":
        head, _, data = part.partition(b"data: ")
        return head + b": " + b"." * (len(data) + 2) + b"\n\n"
    if fault == "resets it":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif fault == "lets it trickle":
        _trickle(part, client)
    elif fault == "falls silent":
        _wait_for_hang_up(client)
    else:
        client.sendall(part[: len(part) // 2])
    return None


def _trickle(part: bytes, client: socket.socket) -> None:
    """A byte now and then: the connection lives, and nothing comes of it."""
    until = time.monotonic() + _LIMIT_S
    for byte in part:
        if time.monotonic() > until:
            return
        client.sendall(bytes([byte]))
        PACE.wait(_TRICKLE_S)


def _wait_for_hang_up(client: socket.socket) -> None:
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    poll.poll(_LIMIT_S * 1000)


@contextlib.contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    found = Proxy(port)
    threading.Thread(target=found.run, daemon=True).start()
    try:
        yield found
    finally:
        found.close()
