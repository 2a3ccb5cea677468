"""Promises of the request reader, over bytes that nobody chose: hypothesis cuts and mutates."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbee.edge.http_request import Request, RequestReader
from rbee.edge.http_server import Exchange, HttpServer
from rbee.errors import RbeeError
from rbee.settings import Timing
from tests.http_talk import answers
from tests.malformed_http import MALFORMED, SMALL

VALID = (
    b"\r\nGET /a%20b?c=%20 HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Padded: \t v \t\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHOST: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;e=1\r\nhello\r\n1\r\n!\r\n0\r\nT: v\r\nU: w\r\n\r\n",
    b"POST /u HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
    b"Content-Length: 3\r\n\r\nabc",
    b"GET http://other:1/abs?q HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /h HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
)
PIPELINE = b"".join(VALID)
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def _read(pieces: list[bytes]) -> list[Request]:
    reader = RequestReader(SMALL, admin=False)
    for piece in pieces:
        reader.feed(piece)
    assert not reader.partial
    return reader.completed


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


WHOLE = _read([PIPELINE])


def test_what_is_read() -> None:
    """Paths are decoded, names are lower case, values are stripped, bodies are whole."""
    first, sized, chunked, upgrade, absolute, star, head = WHOLE
    assert (first.method, first.path, first.query) == ("GET", "/a b", "c=%20")
    assert first.target == "/a%20b?c=%20"
    assert first.headers == (("host", "a"), ("x-empty", ""), ("x-padded", "v"))
    assert (sized.body, chunked.body, upgrade.body) == (b"hello", b"hello!", b"abc")
    assert chunked.header("t") is None
    assert upgrade.header("upgrade") is None
    assert (absolute.path, absolute.header("host")) == ("/abs", "other:1")
    assert star.path == "*"
    assert (head.http_1_0, head.keep_alive) == (True, True)


def test_one_byte_at_a_time() -> None:
    """The smallest reads make the same requests."""
    assert _read([bytes([byte]) for byte in PIPELINE]) == WHOLE


@settings(deadline=None)
@given(places=st.lists(st.integers(0, len(PIPELINE)), max_size=12))
def test_cut_anywhere(places: list[int]) -> None:
    """Wherever TCP cuts a pipeline, the same requests are read."""
    assert _read(_cut(PIPELINE, places)) == WHOLE


@pytest.mark.parametrize(
    "bad", [bad for bad in MALFORMED if not bad.shut], ids=lambda bad: bad.name
)
def test_malformed_wherever_it_is_cut(bad: object) -> None:
    """A malformed request is refused with the same code when it comes byte by byte, and what was
    complete before it stays."""
    assert isinstance(bad, tuple)
    _, data, code, _ = bad
    reader = RequestReader(SMALL, admin=False)
    with pytest.raises(RbeeError) as caught:
        for byte in VALID[1] + data:
            reader.feed(bytes([byte]))
    assert caught.value.code == code
    assert [request.path for request in reader.completed] == ["/p"]


def test_tls_is_named() -> None:
    """Who speaks TLS to this port is told what to change."""
    with pytest.raises(RbeeError, match=r"begins with http://"):
        RequestReader(SMALL, admin=False).feed(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")


MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, len(PIPELINE)),
        st.sampled_from(["flip", "drop", "insert", "repeat"]),
        st.sampled_from(
            [
                b"\r\n",
                b"\r",
                b"\n",
                b"\0",
                b" ",
                b":",
                b"0",
                b"ffffffff",
                b"%",
                b"\xff",
                b"\r\n\r\n",
                b"Content-Length: 3\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Upgrade: x\r\n",
            ]
        ),
    ),
    min_size=1,
    max_size=4,
)


def _mutated(changes: list[tuple[int, str, bytes]]) -> bytes:
    data = PIPELINE
    for anywhere, kind, word in changes:
        place = anywhere % len(data)
        if kind == "flip":
            data = data[:place] + bytes([data[place] ^ word[0]]) + data[place + 1 :]
        elif kind == "drop":
            data = data[:place] + data[place + len(word) :]
        elif kind == "insert":
            data = data[:place] + word + data[place:]
        else:
            data = data[:place] + data[place // 2 : place] + data[place:]
        data = data or b"\r\n"
    return data


@pytest.fixture(scope="module")
def house() -> Iterator[tuple[asyncio.AbstractEventLoop, int, list[BaseException]]]:
    """A server that echoes, on a loop that the fuzz runs step by step."""
    faults: list[BaseException] = []

    def echo(exchange: Exchange) -> None:
        exchange.respond(200, [], exchange.request.body)

    loop = asyncio.new_event_loop()
    server = HttpServer(echo, SMALL, Timing(), on_error=faults.append)
    loop.set_exception_handler(lambda _, context: faults.append(RuntimeError(str(context))))
    port = loop.run_until_complete(server.listen_tcp("127.0.0.1", 0))
    yield loop, port, faults
    loop.run_until_complete(server.close(0))
    loop.close()


async def _converse(port: int, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, data)
        sock.shutdown(socket.SHUT_WR)
        received = b""
        while more := await asyncio.wait_for(loop.sock_recv(sock, 65536), 5):
            received += more
        return received


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=MUTATIONS)
def test_fuzz_over_a_real_socket(
    house: tuple[asyncio.AbstractEventLoop, int, list[BaseException]],
    changes: list[tuple[int, str, bytes]],
) -> None:
    """Whatever a mutated pipeline says, each answer is whole, correct HTTP, 200 or a shaped 4xx; a
    refusal is the last one; nothing hangs, nothing raises, and the next client is served."""
    loop, port, faults = house
    received = loop.run_until_complete(_converse(port, _mutated(changes)))
    heads = list(re.finditer(rb"HTTP/1\.1 (\d)\d\d [A-Z]", received))
    kinds = [head[1] for head in heads]
    assert set(kinds) <= {b"2", b"4"}
    assert b"4" not in kinds[:-1]
    if kinds[-1:] == [b"4"]:
        last = received[heads[-1].start() :]
        assert answers(last)[0].error["code"] in ("HTTP_MALFORMED", "REQUEST_TOO_LARGE")
    assert not faults
    good = loop.run_until_complete(_converse(port, LAST))
    assert answers(good)[0].status == 200
