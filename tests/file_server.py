"""A loopback HTTP server of files that can be told to answer wrongly, request by request.

It runs in threads of the test's own process; what it was asked stands in `asked`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BLOCK_BYTES = 256 << 10


@dataclass
class Answer:
    """What goes out; a fault changes it. `body` is what really follows, `headers` what is said."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut_after: int | None = None
    """The connection is closed after so many bytes of the body."""
    hold_after: int | None = None
    """Nothing more is said after so many bytes of the body, until the server ends."""
    gate: threading.Event | None = None
    """The body goes on behind `hold_after` once this is set."""
    drip: int | None = None
    """Bytes at a time, one tenth of a second between them."""


@dataclass
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    begin: int = 0
    end: int = 0


Fault = Callable[[Asked, Answer], None]
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class FileServer:
    """`files` by path; `faults` are asked in turn for each request and may change the answer."""

    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    sent_bytes: int = 0
    url: str = ""
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ranges(self) -> list[tuple[int, int]]:
        """Of all requests so far that asked for more than the first byte."""
        return [(one.begin, one.end) for one in self.asked if one.end - one.begin > 1]


@contextmanager
def file_server() -> Iterator[FileServer]:
    """A server on a free port of the loopback."""
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """The test has `asked` to look at."""

        def do_GET(self) -> None:
            asked = Asked(self.path, {k.lower(): v for k, v in self.headers.items()})
            answer = _plain(state, asked)
            with state.lock:
                state.asked.append(asked)
                for fault in state.faults:
                    fault(asked, answer)
            _send(self, state, answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        state.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _plain(state: FileServer, asked: Asked) -> Answer:
    path = asked.path.partition("?")[0]
    data = state.files.get(path)
    if data is None:
        return Answer(404, {"content-type": "text/plain"}, b"no such file")
    etag = state.etags.get(path, "")
    headers = {"etag": etag} if etag else {}
    found = _RANGE.fullmatch(asked.headers.get("range", ""))
    unchanged = asked.headers.get("if-range", etag) == etag
    asked.end = len(data)
    if found is None or not unchanged:
        return Answer(200, headers, data)
    asked.begin = int(found[1])
    asked.end = min(int(found[2]) + 1 if found[2] else len(data), len(data))
    if asked.begin >= len(data):
        return Answer(416, {"content-range": f"bytes */{len(data)}"}, b"")
    headers["content-range"] = f"bytes {asked.begin}-{asked.end - 1}/{len(data)}"
    return Answer(206, headers, data[asked.begin : asked.end])


def _send(handler: BaseHTTPRequestHandler, state: FileServer, answer: Answer) -> None:
    handler.send_response_only(answer.status)
    answer.headers.setdefault("content-length", str(len(answer.body)))
    if not answer.headers["content-length"]:
        # The end of the connection is the end of the body.
        del answer.headers["content-length"]
        handler.close_connection = True
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    at = 0
    step = answer.drip or _BLOCK_BYTES
    try:
        while at < len(answer.body):
            for limit in (answer.cut_after, answer.hold_after):
                if limit is not None and at < limit:
                    step = min(step, limit - at)
            if at == answer.cut_after:
                handler.close_connection = True
                return
            if at == answer.hold_after:
                (answer.gate or state.ended).wait(30)
                answer.hold_after = None
                step = answer.drip or _BLOCK_BYTES
            if answer.drip and state.ended.wait(0.1):
                return
            block = answer.body[at : at + step]
            handler.wfile.write(block)
            at += len(block)
            with state.lock:
                state.sent_bytes += len(block)
    except OSError:
        handler.close_connection = True


def first(count: int, fault: Fault, *, where: Callable[[Asked], bool] | None = None) -> Fault:
    """A fault of the first `count` requests (of those that `where` holds for)."""
    left = [count]

    def act(asked: Asked, answer: Answer) -> None:
        if left[0] and (where is None or where(asked)):
            left[0] -= 1
            fault(asked, answer)

    return act


def cut(after: int) -> Fault:
    """The connection breaks after so many bytes."""

    def act(asked: Asked, answer: Answer) -> None:
        answer.cut_after = min(after, len(answer.body) - 1)

    return act


def status(code: int, **headers: str) -> Fault:
    """Another status, with a short text; headers in Python's spelling (`retry_after="1"`)."""

    def act(asked: Asked, answer: Answer) -> None:
        answer.status, answer.body = code, b"no"
        answer.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    return act
