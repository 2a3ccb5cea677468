"""A loopback server of model files that misbehaves on demand, request by request.

It writes HTTP by hand, so that it can do what no server means to do. Files go out from disk, and
each byte that went is counted at its place: "fetched twice" is a number.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

_STEP_BYTES = 256 << 10
_DRIP_EVERY_S = 0.1
_LOOK_S = 0.02
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Slice:
    """Bytes of a file on this disk."""

    path: Path
    begin: int
    end: int


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    begin: int = 0
    end: int = 0
    """The bytes of the file that were asked for; none where it is no file."""
    sent_bytes: int = 0

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    @property
    def size_bytes(self) -> int:
        return self.end - self.begin


@dataclass
class Answer:
    """What goes out; a fault changes it. `headers` is what is said, `body` what really follows."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Slice = b""
    cut_after: int | None = None
    """The connection is closed after so many bytes of a longer body."""
    hold_after: int | None = None
    """Nothing more is said after so many bytes of the body, for as long as the server lives."""
    drip_bytes: int = 0
    """So many at a time, ten times a second."""

    @property
    def size_bytes(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.end - self.body.begin


@dataclass
class File:
    """What lies at a path, and by which version it is called."""

    path: Path
    etag: str = ""

    def answer(self, asked: Asked) -> Answer:
        """As RFC 9110 has it: ranges, If-Range, and 416 for what is not there."""
        size_bytes = self.path.stat().st_size
        headers = {"accept-ranges": "bytes", "content-type": "application/octet-stream"}
        if self.etag:
            headers["etag"] = self.etag
        found = _RANGE.fullmatch(asked.headers.get("range", ""))
        asked.end = size_bytes
        if found is None or asked.headers.get("if-range", self.etag) != self.etag:
            return Answer(200, headers, Slice(self.path, 0, size_bytes))
        asked.begin = int(found[1])
        asked.end = min(int(found[2]) + 1 if found[2] else size_bytes, size_bytes)
        if asked.begin >= size_bytes:
            return Answer(416, {"content-range": f"bytes */{size_bytes}"})
        headers["content-range"] = f"bytes {asked.begin}-{asked.end - 1}/{size_bytes}"
        return Answer(206, headers, Slice(self.path, asked.begin, asked.end))


Fault = Callable[[Asked, Answer], None]
Route = Callable[[Asked], Answer | None]


class Registry:
    """Files by path; `routes` are asked before them, `faults` may change every answer."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.routes: list[Route] = []
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.bytes_per_s = 0
        """What all bodies together may take; 0: as much as there is."""
        self.gate_at = 0
        """No byte goes out beyond so many in all, but for a file's first one alone, which tells
        what is there; 0: there is no gate."""
        self._sent: dict[str, list[tuple[int, int]]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._free_at = 0.0
        self._peers: set[socket.socket] = set()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    # --- what was seen ----------------------------------------------------------------------

    @property
    def sent_bytes(self) -> int:
        """Of files, all answers together."""
        with self._lock:
            return sum(end - begin for spans in self._sent.values() for begin, end in spans)

    @property
    def sent_twice_bytes(self) -> int:
        """How many of them went out that had gone out before."""
        with self._lock:
            return sum(_overlap_bytes(spans) for spans in self._sent.values())

    def bodies(self) -> list[Asked]:
        """Requests that asked for more of a file than its first byte."""
        return [one for one in self.asked if one.size_bytes > 1]

    def forget(self) -> None:
        """Counts begin anew."""
        with self._lock:
            self._sent.clear()
            self.asked.clear()

    def clear(self) -> None:
        """Nothing lies here any more, nobody is answered, and all is well again."""
        self.hang_up()
        self.forget()
        with self._lock:
            for held in (self.files, self.routes, self.faults):
                held.clear()
        self.bytes_per_s = self.gate_at = 0

    # --- serving ----------------------------------------------------------------------------

    def serve(self) -> None:
        """Until `end`."""
        while not self._ended.is_set():
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def end(self) -> None:
        self._ended.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def hang_up(self) -> None:
        """Every connection is cut, as by a server that starts anew."""
        with self._lock:
            peers = list(self._peers)
        for peer in peers:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def _talk(self, peer: socket.socket) -> None:
        """One connection, request after request."""
        with self._lock:
            self._peers.add(peer)
        with peer, peer.makefile("rb") as said:
            try:
                while (asked := _request(said)) is not None and not self._ended.is_set():
                    answer = self._answer(asked)
                    if not self._send(peer, asked, answer):
                        return
            except OSError:
                return
            finally:
                with self._lock:
                    self._peers.discard(peer)

    def _answer(self, asked: Asked) -> Answer:
        with self._lock:
            self.asked.append(asked)
            found = (route(asked) for route in self.routes)
            answer = next((one for one in found if one is not None), None)
            if answer is None:
                file = self.files.get(asked.path)
                answer = file.answer(asked) if file else Answer(404, body=b"no such file")
            for fault in self.faults:
                fault(asked, answer)
        return answer

    def _send(self, peer: socket.socket, asked: Asked, answer: Answer) -> bool:
        """Whether the connection may go on."""
        headers = {"content-length": str(answer.size_bytes), **answer.headers}
        # A length that is told as nothing is not told: the end of the connection ends the body.
        lines = [f"{name}: {value}" for name, value in headers.items() if value]
        head = "\r\n".join([f"HTTP/1.1 {answer.status} So", *lines, "", ""])
        peer.sendall(head.encode())
        if asked.method == "HEAD":
            return True
        at, last = 0, answer.size_bytes
        if answer.cut_after is not None:
            last = min(answer.cut_after, last)
        while at < last:
            if answer.hold_after is not None and at >= answer.hold_after:
                self._ended.wait()
                return False
            count = self._allowed(min(last, answer.hold_after or last) - at, answer.drip_bytes)
            if not count:
                return False
            count = _write(peer, answer.body, at, count)
            self._count(asked, answer, at, count)
            at += count
        return last == answer.size_bytes and bool(headers["content-length"])

    def _allowed(self, most: int, drip_bytes: int) -> int:
        """How many bytes may go now; waits for it. 0: the server has ended."""
        if drip_bytes:
            return 0 if self._ended.wait(_DRIP_EVERY_S) else min(most, drip_bytes)
        while most > 1 and self.gate_at and self.sent_bytes >= self.gate_at:
            if self._ended.wait(_LOOK_S):
                return 0
        count = min(most, _STEP_BYTES)
        if self.bytes_per_s:
            with self._lock:
                now = time.monotonic()
                self._free_at = max(self._free_at, now) + count / self.bytes_per_s
                wait_s = self._free_at - now
            if self._ended.wait(wait_s):
                return 0
        return count

    def _count(self, asked: Asked, answer: Answer, at: int, count: int) -> None:
        """Only what is of a file, and no probe for its first byte."""
        with self._lock:
            asked.sent_bytes += count
            if answer.size_bytes == asked.size_bytes > 1:
                begin = asked.begin + at
                spans = self._sent.setdefault(asked.path, [])
                if spans and spans[-1][1] == begin:
                    begin = spans.pop()[0]
                spans.append((begin, asked.begin + at + count))


@contextmanager
def running() -> Iterator[Registry]:
    """A registry on a free port of the loopback."""
    found = Registry()
    thread = threading.Thread(target=found.serve, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.end()
        thread.join(5)


def _request(said: object) -> Asked | None:
    """The next request of a connection; None: there is none."""
    words = said.readline(65536).decode("latin-1").split()  # type: ignore[attr-defined]
    if len(words) != 3:
        return None
    headers: dict[str, str] = {}
    while line := said.readline(65536).decode("latin-1").strip():  # type: ignore[attr-defined]
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Asked(words[0], words[1], headers)


def _write(peer: socket.socket, body: bytes | Slice, at: int, count: int) -> int:
    if isinstance(body, bytes):
        return peer.send(body[at : at + count])
    with body.path.open("rb") as file:
        sent = os.sendfile(peer.fileno(), file.fileno(), body.begin + at, count)
    if not sent:
        raise OSError("the file is shorter than it was")
    return sent


def _overlap_bytes(spans: list[tuple[int, int]]) -> int:
    twice, reached = 0, 0
    for begin, end in sorted(spans):
        twice += max(0, min(end, reached) - begin)
        reached = max(reached, end)
    return twice
