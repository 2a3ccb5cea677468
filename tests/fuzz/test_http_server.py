"""Bytes on the port, sent in any pieces: the same answers in the same order, or a refusal."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.edge.http_server import Exchange, HttpServer
from rbee.settings import Timing
from tests.fuzz.odd import damaged, tries
from tests.http_talk import Answer, answers
from tests.malformed_http import MALFORMED, SMALL

LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BODIES = st.binary(max_size=40) | st.sampled_from(
    [b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\r\n"]
)


class Port:
    """A server that tells what it understood, on a loop that the fuzz runs step by step."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.faults: list[str] = []
        timing = Timing(request_head_s=5, request_body_s=5)
        self.server = HttpServer(
            _tell, SMALL, timing, on_error=lambda e: self.faults.append(repr(e))
        )
        self.loop.set_exception_handler(lambda _, context: self.faults.append(str(context)))
        self.number = self.loop.run_until_complete(self.server.listen_tcp("127.0.0.1", 0))

    def say(self, *pieces: bytes, shut: bool = True) -> bytes:
        """What comes back until the end of the connection, which must come."""
        return self.loop.run_until_complete(asyncio.wait_for(self._say(pieces, shut), 10))

    async def _say(self, pieces: tuple[bytes, ...], shut: bool) -> bytes:
        with socket.socket() as sock:
            sock.setblocking(False)
            await self.loop.sock_connect(sock, ("127.0.0.1", self.number))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            try:
                for piece in pieces:
                    await self.loop.sock_sendall(sock, piece)
                    # The server reads this piece before the next one comes.
                    await asyncio.sleep(0)
                if shut:
                    sock.shutdown(socket.SHUT_WR)
                while more := await self.loop.sock_recv(sock, 65536):
                    received += more
            except ConnectionError:
                pass
            return received


def _tell(exchange: Exchange) -> None:
    """The request as it was understood; a stream for those that ask for one."""
    request = exchange.request
    said = f"{request.method} {request.path}?{request.query} ".encode() + request.body
    if request.header("x-stream") is None:
        exchange.respond(200, [], said)
        return
    exchange.start(200, [])
    for byte in said:
        exchange.write(bytes([byte]))
    exchange.finish()


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    found = Port()
    yield found
    found.loop.run_until_complete(found.server.close(0))
    found.loop.close()


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One valid request, in any of the ways in which it may be written."""
    body = draw(BODIES)
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    method = draw(st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "DELETE"]))
    target = draw(st.sampled_from(["/", "/a%20b?x=%00", "http://b:1/abs", "/é".encode().hex()]))
    target = target if target.startswith(("/", "http")) else "/" + target
    lines = [f"{method} {target} HTTP/1.1", draw(st.sampled_from(["Host: a", "hOsT:a:80"]))]
    lines += draw(
        st.lists(
            st.sampled_from(
                ["X-Stream: 1", "X-Empty:", "X: \t v", "Expect: 100-continue", "TE: x"]
            ),
            max_size=3,
            unique=True,
        )
    )
    data = b""
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
        data = body
    elif framing == "chunked":
        lines.append(
            draw(st.sampled_from(["Transfer-Encoding: chunked", "transfer-encoding:chunked"]))
        )
        data = draw(chunked(body))
    before = draw(st.sampled_from([b"", b"\r\n"]))
    return before + "\r\n".join([*lines, "", ""]).encode() + data


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """A body in chunks of any sizes, with extensions and a trailer at times."""
    places = sorted({0, len(body), *draw(st.lists(st.integers(0, len(body)), max_size=3))})
    extension = draw(st.sampled_from([b"", b";a=b", b';a="b;c"']))
    parts = [body[a:b] for a, b in pairwise(places)]
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)
    return chunks + b"0\r\n" + draw(st.sampled_from([b"", b"T: v\r\n"])) + b"\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


CUTS = st.lists(st.integers(0, 5000), max_size=8)


def told(received: bytes, sent: list[bytes]) -> list[Answer]:
    """The answers without `100 Continue` and without the dates; HEAD has no body."""
    received = received.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    return answers(re.sub(rb"date: [^\r]*", b"date: x", received))


@tries(100)
@given(pipeline=st.lists(requests(), min_size=1, max_size=4), places=CUTS)
def test_pieces_make_no_difference(port: Port, pipeline: list[bytes], places: list[int]) -> None:
    """Wherever the bytes are cut, each request of a pipeline gets the same answer, in its order."""
    pipeline = [one for one in pipeline if b"HEAD " not in one[:7]]
    data = b"".join(pipeline) + LAST
    whole = told(port.say(data), pipeline)
    assert [one.status for one in whole] == [200] * (len(pipeline) + 1)
    assert told(port.say(*cut(data, places)), pipeline) == whole
    assert told(port.say(*cut(data, places), shut=False), pipeline) == whole
    assert not port.faults


@tries(200)
@given(request=requests())
def test_head_has_the_head_alone(port: Port, request: bytes) -> None:
    """Whatever the request, HEAD is answered without a body, and the next one is understood."""
    start = request.index(b" ")
    received = port.say(b"HEAD" + request[start:] + LAST).replace(
        b"HTTP/1.1 100 Continue\r\n\r\n", b""
    )
    head, rest = received.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200") and rest.startswith(b"HTTP/1.1 200"), received
    assert answers(rest)[0].body == b"GET /last? "


@tries(100)
@given(
    before=st.lists(requests(), max_size=2),
    bad=st.sampled_from([one for one in MALFORMED if not one.shut]),
    after=requests(),
    places=CUTS,
)
def test_nothing_is_smuggled(
    port: Port,
    before: list[bytes],
    bad: tuple[str, bytes, str, bool],
    after: bytes,
    places: list[int],
) -> None:
    """Behind a malformed request nothing is understood any more: the refusal is the last answer,
    and what was complete before it is answered."""
    before = [one for one in before if b"HEAD " not in one[:7]]
    found = told(port.say(*cut(b"".join(before) + bad[1] + after, places)), before)
    assert [one.status for one in found[:-1]] == [200] * len(before), bad[0]
    assert found[-1].error["code"] == bad[2], bad[0]
    assert found[-1].headers["connection"] == "close"
    assert not port.faults


@tries(50)
@given(
    data=damaged(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" * 2)
    | st.binary(max_size=80),
    places=CUTS,
)
def test_any_bytes(port: Port, data: bytes, places: list[int]) -> None:
    """No crash, no 5xx, no hang; the connection ends and the next client is served."""
    received = port.say(*cut(data, places))
    assert set(re.findall(rb"HTTP/1\.1 (\d)", received)) <= {b"1", b"2", b"4"}
    assert not port.faults
    assert answers(port.say(LAST))[0].status == 200
