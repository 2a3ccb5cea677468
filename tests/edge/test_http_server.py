"""Promises of the HTTP server, kept on real sockets and both event loops."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.edge.conftest import RunLoop
from tests.http_talk import Talk, answers, ask, until
from tests.malformed_http import MALFORMED, SMALL

from rbee.edge.http_server import Exchange, HttpServer, Request
from rbee.settings import Bounds, Timing

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
QUICK = Timing(request_head_s=0.15, request_body_s=0.15, idle_connection_s=0.3)


class House:
    """A server whose handler echoes; paths under /hold wait for the test."""

    def __init__(self, bounds: Bounds, timing: Timing) -> None:
        self.requests: list[Request] = []
        self.held: list[Exchange] = []
        self.hang_ups = 0
        self.faults: list[BaseException] = []
        self.server = HttpServer(self.handle, bounds, timing, on_error=self.faults.append)
        self.port = 0

    def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        self.requests.append(request)
        if request.path.startswith("/hold"):
            exchange.on_closed = self._hung_up
            self.held.append(exchange)
        elif request.path == "/fault":
            raise KeyError("secret")
        elif request.path == "/empty":
            exchange.respond(204, [], b"")
        else:
            body = request.body or request.path.encode()
            exchange.respond(200, [("content-type", "text/plain")], body)

    def _hung_up(self) -> None:
        self.hang_ups += 1

    async def sweeps(self, count: int) -> None:
        """Wait until the server has looked round so many times."""
        for _ in range(count):
            armed = self.server._sweep
            await until(lambda armed=armed: self.server._sweep is not armed)

    async def hold(self, data: bytes, *, talk: Talk | None = None) -> tuple[Talk, Exchange]:
        """Send a request to /hold and wait until the handler has it."""
        talk = talk or await Talk.dial(self.port)
        before = len(self.held)
        await talk.send(data)
        await until(lambda: len(self.held) > before)
        return talk, self.held[-1]


@asynccontextmanager
async def serving(bounds: Bounds = SMALL, timing: Timing | None = None) -> AsyncIterator[House]:
    house = House(bounds, timing or Timing())
    house.port = await house.server.listen_tcp("127.0.0.1", 0)
    try:
        yield house
    finally:
        await house.server.close(0)


def _hold(method: str = "GET", *headers: str, version: str = "1.1") -> bytes:
    lines = [f"{method} /hold HTTP/{version}", "Host: a", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


class TestAnswers:
    def test_keeps_the_connection(self, run_loop: RunLoop) -> None:
        """Requests one after the other share a connection; `Connection: close` ends it."""

        async def story() -> None:
            async with serving() as house:
                talk = await Talk.dial(house.port)
                for _ in range(3):
                    await talk.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert b"connection: close" not in await talk.receive_until(b"/x")
                await talk.send(GET_CLOSE)
                [answer] = answers(await talk.rest())
                assert answer.headers["connection"] == "close"
                assert answer.body == b"/"

        run_loop(story())

    def test_head_gets_headers_only(self, run_loop: RunLoop) -> None:
        """HEAD tells the length of the body and sends none, streamed answers too."""

        async def story() -> None:
            async with serving() as house:
                data = GET_CLOSE.replace(b"GET / ", b"HEAD /longer ")
                [answer] = await ask(house.port, data, methods="HEAD")
                assert answer.headers["content-length"] == "7"
                assert answer.body == b""
                talk, exchange = await house.hold(_hold("HEAD", "Connection: close"))
                exchange.start(200, [])
                exchange.write(b"unseen")
                exchange.finish()
                assert (await talk.rest()).endswith(b"\r\n\r\n")

        run_loop(story())

    def test_no_content_has_no_length(self, run_loop: RunLoop) -> None:
        """204 carries neither body nor Content-Length."""

        async def story() -> None:
            async with serving() as house:
                [answer] = await ask(house.port, GET_CLOSE.replace(b"/ ", b"/empty ", 1))
                assert (answer.status, answer.body) == (204, b"")
                assert "content-length" not in answer.headers

        run_loop(story())

    def test_bodies_of_both_kinds(self, run_loop: RunLoop) -> None:
        """Bodies arrive whole, by length or in chunks with extensions and trailers; trailers are
        no headers."""

        async def story() -> None:
            async with serving() as house:
                sized = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                chunked = (
                    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n"
                    b"Connection: close\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Admin: 1\r\n\r\n"
                )
                found = await ask(house.port, sized + chunked)
                assert [answer.body for answer in found] == [b"abc", b"abcde"]
                assert house.requests[1].header("x-admin") is None

        run_loop(story())

    def test_split_at_every_byte(self, run_loop: RunLoop) -> None:
        """A request that trickles in byte by byte is understood as if it came at once."""

        async def story() -> None:
            async with serving() as house:
                talk = await Talk.dial(house.port)
                data = (
                    b"POST /a%20b?q=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                    b"Connection: close\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n"
                )
                for byte in data:
                    await talk.send(bytes([byte]))
                    await asyncio.sleep(0)
                [answer] = answers(await talk.rest())
                assert answer.body == b"abc"
                assert (house.requests[0].path, house.requests[0].query) == ("/a b", "q=1")

        run_loop(story())

    def test_old_clients(self, run_loop: RunLoop) -> None:
        """HTTP/1.0 needs no Host, gets no chunks, and is kept only if it asks."""

        async def story() -> None:
            async with serving() as house:
                [answer] = await ask(house.port, b"GET /old HTTP/1.0\r\n\r\n")
                assert answer.headers["connection"] == "close"
                kept = b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
                talk = await Talk.dial(house.port)
                await talk.send(kept)
                assert b"connection: keep-alive" in await talk.receive_until(b"/old")
                talk, exchange = await house.hold(_hold(version="1.0"), talk=talk)
                exchange.start(200, [])
                exchange.write(b"one ")
                exchange.write(b"two")
                exchange.finish()
                data = await talk.rest()
                assert b"chunked" not in data
                assert data.endswith(b"\r\n\r\none two")

        run_loop(story())

    def test_continue(self, run_loop: RunLoop) -> None:
        """`Expect: 100-continue` is answered before the body, and a body that is too large is
        refused before it is sent."""

        async def story() -> None:
            async with serving() as house:
                talk = await Talk.dial(house.port)
                head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: "
                await talk.send(head + b"3\r\n\r\n")
                assert await talk.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
                await talk.send(b"abc")
                assert (await talk.receive_until(b"abc")).startswith(b"HTTP/1.1 200")
                await talk.send(head + b"5000\r\n\r\n")
                assert answers(await talk.rest())[0].error["code"] == "REQUEST_TOO_LARGE"

        run_loop(story())

    def test_targets(self, run_loop: RunLoop) -> None:
        """Absolute targets lose their authority to the Host header; `OPTIONS *` is allowed."""

        async def story() -> None:
            async with serving() as house:
                data = b"GET http://b:1/x?y=1 HTTP/1.1\r\nHost: a\r\n\r\n"
                data += b"GET http://b?y HTTP/1.1\r\nHost: a\r\n\r\n"
                data += b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"
                await ask(house.port, data + GET_CLOSE)
                seen = [(r.path, r.query, r.header("host")) for r in house.requests]
                assert seen[:3] == [("/x", "y=1", "b:1"), ("/", "y", "b"), ("*", "", "a")]

        run_loop(story())

    def test_upgrade_is_ignored(self, run_loop: RunLoop) -> None:
        """A client that offers HTTP/2 (java.net.http does) is answered in HTTP/1.1, body and
        pipelined successor included."""

        async def story() -> None:
            async with serving() as house:
                data = (
                    b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                    b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAE\r\nContent-Length: 3\r\n\r\nabc"
                )
                found = await ask(house.port, data + GET_CLOSE)
                assert [answer.body for answer in found] == [b"abc", b"/"]

        run_loop(story())

    def test_many_upgrades_at_once(self, run_loop: RunLoop) -> None:
        """A pipeline of nothing but upgrade offers is answered too."""

        async def story() -> None:
            async with serving() as house:
                offer = b"GET / HTTP/1.1\r\nHost:a\r\nUpgrade:x\r\nConnection:upgrade\r\n\r\n"
                found = await ask(house.port, offer * 400 + GET_CLOSE)
                assert [answer.status for answer in found] == [200] * 401

        run_loop(story())

    def test_admin_socket(self, run_loop: RunLoop, tmp_path: Path) -> None:
        """Requests over the Unix socket are marked admin, those over TCP never are; the socket is
        for this user only and disappears with the server."""

        async def story() -> None:
            async with serving() as house:
                path = tmp_path / "admin.sock"
                await house.server.listen_unix(path)
                assert path.stat().st_mode & 0o777 == 0o600
                talk = await Talk.dial_unix(path)
                await talk.send(GET_CLOSE)
                assert answers(await talk.rest())[0].status == 200
                await ask(house.port, GET_CLOSE)
                assert [request.admin for request in house.requests] == [True, False]
                await house.server.close(0)
                assert not path.exists()

        run_loop(story())

    def test_headers_cannot_be_injected(self, run_loop: RunLoop) -> None:
        """A header value with a line break raises and sends nothing; another answer still can."""

        async def story() -> None:
            async with serving() as house:
                talk, exchange = await house.hold(_hold("GET", "Connection: close"))
                for value in ("a\r\nx: y", "a\nb", "a\rb", "a\0b"):
                    with pytest.raises(ValueError, match="CR, LF or NUL"):
                        exchange.respond(200, [("x", value)], b"")
                exchange.respond(200, [], b"fine")
                assert answers(await talk.rest())[0].body == b"fine"

        run_loop(story())


class TestOrder:
    def test_pipelined_answers_in_order(self, run_loop: RunLoop) -> None:
        """Fifty requests sent at once are answered in order, one at a time, quick ones waiting for
        slow ones."""

        async def story() -> None:
            async with serving() as house:
                talk = await Talk.dial(house.port)
                paths = [f"/hold{n}" if n % 5 == 0 else f"/{n}" for n in range(50)]
                heads = [f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths]
                await talk.send("".join(heads).encode())
                for n in range(0, 50, 5):
                    await until(lambda n=n: len(house.held) == n // 5 + 1)
                    assert len(house.requests) == n + 1
                    assert house.server.open_exchanges == 1
                    house.held[-1].respond(200, [], paths[n].encode())
                talk.shut()
                found = answers(await talk.rest())
                assert [answer.body.decode() for answer in found] == paths

        run_loop(story())

    def test_pipeline_is_bounded(self, run_loop: RunLoop) -> None:
        """While an answer runs, little of what is sent after it is read: the sender is held back by
        TCP, and still all is answered in the end."""

        async def story() -> None:
            async with serving() as house:
                talk, exchange = await house.hold(_hold())
                count = 15_000
                padded = GET.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 1000 + b"\r\n\r\n")
                sending = asyncio.ensure_future(talk.send(padded * count))
                done, _ = await asyncio.wait({sending}, timeout=0.3)
                assert not done
                [connection] = house.server._connections
                assert len(connection._queue) < 500
                exchange.respond(200, [], b"")
                reading = asyncio.ensure_future(talk.rest())
                await sending
                talk.shut()
                assert (await reading).count(b"HTTP/1.1 200") == count + 1

        run_loop(story())

    def test_refusal_waits_for_its_turn(self, run_loop: RunLoop) -> None:
        """Malformed bytes after a good request do not spoil its answer: they are refused after it,
        and then the connection ends."""

        async def story() -> None:
            async with serving() as house:
                talk, exchange = await house.hold(_hold() + b"BREW / HTTP/1.1\r\n\r\n" + GET)
                exchange.respond(200, [], b"first")
                found = answers(await talk.rest())
                assert [answer.status for answer in found] == [200, 400]
                assert len(house.requests) == 1

        run_loop(story())

    def test_nothing_after_close(self, run_loop: RunLoop) -> None:
        """Bytes after a request with `Connection: close` are never run."""

        async def story() -> None:
            async with serving() as house:
                found = await ask(house.port, GET_CLOSE + GET + GET)
                assert len(found) == len(house.requests) == 1

        run_loop(story())


class TestSlowClients:
    def test_back_pressure(self, run_loop: RunLoop) -> None:
        """A client that does not read stops the source (`write` gives False, memory stays bounded);
        when it reads again `on_writable` fires and every byte arrives."""

        async def story() -> None:
            async with serving(replace(SMALL, write_buffer_bytes=64 << 10)) as house:
                talk = await Talk.dial(house.port, receive_bytes=4096)
                await talk.send(_hold("GET", "Connection: close"))
                await until(lambda: house.held)
                exchange = house.held[0]
                writable = asyncio.Event()
                exchange.on_writable = writable.set
                exchange.start(200, [])
                sent = await _fill(exchange)
                assert exchange.waiting_to_write_bytes < 1 << 20
                assert not writable.is_set()
                reading = asyncio.ensure_future(talk.rest())
                await writable.wait()
                exchange.finish()
                assert len(answers(await reading)[0].body) == sent

        run_loop(story())

    def test_a_client_that_never_reads(self, run_loop: RunLoop) -> None:
        """A client that takes nothing for the idle limit is cut off, and the handler is told."""

        async def story() -> None:
            async with serving(timing=QUICK) as house:
                talk, exchange = await house.hold(_hold())
                exchange.start(200, [])
                await _fill(exchange)
                await until(lambda: house.hang_ups)
                assert exchange.closed
                assert house.server.open_exchanges == 0
                talk.close()

        run_loop(story())

    def test_answers_wait_for_a_reader(self, run_loop: RunLoop) -> None:
        """A client that pipelines and does not read gets no further requests run: the write buffer
        holds them back."""

        async def story() -> None:
            bounds = replace(SMALL, write_buffer_bytes=16 << 10, body_bytes=1 << 20)
            async with serving(bounds) as house:
                talk = await Talk.dial(house.port, receive_bytes=4096)
                body = b"x" * 100_000
                post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + body
                sending = asyncio.ensure_future(talk.send(post * 200))
                done, _ = await asyncio.wait({sending}, timeout=0.5)
                assert not done
                assert len(house.requests) < 150
                received = 0
                while received < 200 * len(body):
                    received += len(await talk.receive(1 << 20))
                await sending
                assert len(house.requests) == 200

        run_loop(story())


async def _fill(exchange: Exchange) -> int:
    """Write until the client is slow; how much that took."""
    sent = 0
    while exchange.write(b"x" * 32768):
        sent += 32768
        assert sent < 64 << 20
        await asyncio.sleep(0)
    return sent + 32768


LEAVE: dict[str, Callable[[Talk], None]] = {"close": Talk.close, "reset": Talk.reset}
STREAMING = {"before the head": False, "in the stream": True}


class TestHangUps:
    @pytest.mark.parametrize("streaming", STREAMING.values(), ids=STREAMING.keys())
    @pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE.keys())
    def test_is_noticed(
        self, run_loop: RunLoop, leave: Callable[[Talk], None], streaming: bool
    ) -> None:
        """A client that leaves is noticed within 1 s although nothing is being written;
        `on_closed` is called once and later writes are dropped."""

        async def story() -> None:
            async with serving() as house:
                talk, exchange = await house.hold(_hold())
                if streaming:
                    exchange.start(200, [])
                    exchange.write(b"first")
                    await talk.receive_until(b"first")
                began = time.monotonic()
                leave(talk)
                await until(lambda: exchange.closed)
                assert time.monotonic() - began < 1.0
                assert exchange.write(b"late") is True
                exchange.finish()
                assert house.hang_ups == 1
                assert house.server.open_exchanges == 0

        run_loop(story())

    def test_with_a_full_pipeline(self, run_loop: RunLoop) -> None:
        """It is noticed too when reading was paused because more requests wait."""

        async def story() -> None:
            async with serving() as house:
                talk, exchange = await house.hold(_hold() + GET * 2000)
                began = time.monotonic()
                talk.close()
                await until(lambda: exchange.closed)
                assert time.monotonic() - began < 1.0
                assert len(house.requests) == 1

        run_loop(story())

    def test_on_the_unix_socket(self, run_loop: RunLoop, tmp_path: Path) -> None:
        """And on a Unix socket."""

        async def story() -> None:
            async with serving() as house:
                await house.server.listen_unix(tmp_path / "s")
                talk = await Talk.dial_unix(tmp_path / "s")
                _, exchange = await house.hold(_hold(), talk=talk)
                talk.close()
                await until(lambda: exchange.closed)

        run_loop(story())

    @pytest.mark.parametrize("streaming", STREAMING.values(), ids=STREAMING.keys())
    def test_half_closed_clients_are_answered(
        self, run_loop: RunLoop, streaming: bool, tmp_path: Path
    ) -> None:
        """A client that only closed its sending side gets its whole answer, and correct HTTP."""

        async def story() -> None:
            async with serving(timing=QUICK) as house:
                await house.server.listen_unix(tmp_path / "s")
                for talk in (await Talk.dial(house.port), await Talk.dial_unix(tmp_path / "s")):
                    _, exchange = await house.hold(_hold(), talk=talk)
                    if streaming:
                        exchange.start(200, [])
                        exchange.write(b"one ")
                        await talk.receive_until(b"one ")
                    else:
                        talk.shut()
                    await house.sweeps(3)
                    received = b""
                    if streaming:
                        received = (
                            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\none \r\n"
                        )
                        talk.shut()
                        await house.sweeps(3)
                        exchange.write(b"two")
                        exchange.finish()
                    else:
                        exchange.respond(200, [], b"one two")
                    [answer] = answers(received + await talk.rest())
                    assert answer.body == b"one two"
                assert house.hang_ups == 0

        run_loop(story())

    def test_half_closed_before_the_last_chunk(self, run_loop: RunLoop) -> None:
        """The byte sent to look for the client fits before the last chunk as well."""

        async def story() -> None:
            async with serving() as house:
                talk, exchange = await house.hold(_hold())
                exchange.start(200, [])
                exchange.write(b"all")
                head = await talk.receive_until(b"all\r\n")
                talk.shut()
                assert await talk.receive() == b"0"
                exchange.finish()
                [answer] = answers(head + b"0" + await talk.rest())
                assert answer.body == b"all"

        run_loop(story())

    def test_half_closed_with_a_full_pipeline(self, run_loop: RunLoop) -> None:
        """Whoever sends many requests, closes the sending side and waits gets every answer, though
        the end was seen by looking before all requests had been read."""

        async def story() -> None:
            async with serving(timing=QUICK) as house:
                talk, exchange = await house.hold(_hold() + GET * 3000)
                talk.shut()
                await house.sweeps(4)
                exchange.respond(200, [], b"first")
                found = answers(await talk.rest())
                assert [answer.body for answer in found] == [b"first"] + [b"/"] * 3000

        run_loop(story())

    def test_abort(self, run_loop: RunLoop) -> None:
        """`abort` cuts the connection so that the answer cannot be taken for whole."""

        async def story() -> None:
            async with serving() as house:
                talk, exchange = await house.hold(_hold())
                exchange.start(200, [])
                exchange.write(b"part")
                await talk.receive_until(b"part\r\n")
                exchange.abort()
                assert b"0\r\n\r\n" not in await talk.rest()
                await until(lambda: exchange.closed)

        run_loop(story())


class TestBounds:
    def test_malformed_requests(self, run_loop: RunLoop) -> None:
        """Each malformed request gets a 4xx with a shaped error and its connection ends; the next
        client is served as ever."""

        async def story() -> None:
            async with serving(timing=replace(Timing(), request_head_s=0.2)) as house:
                for bad in MALFORMED:
                    expected = bad.code
                    found = await ask(house.port, bad.data, shut=bad.shut)
                    assert len(found) == 1, bad.name
                    assert 400 <= found[0].status < 500, bad.name
                    assert found[0].error["code"] == expected, bad.name
                    assert found[0].headers["connection"] == "close", bad.name
                    assert found[0].headers["x-should-retry"] == "false", bad.name
                [answer] = await ask(house.port, GET_CLOSE)
                assert answer.status == 200
                assert len(house.requests) == 1
                assert not house.faults

        assert len(MALFORMED) >= 40
        run_loop(story())

    def test_exact_body_limit(self, run_loop: RunLoop) -> None:
        """A body of exactly the limit is taken, by length and in chunks."""

        async def story() -> None:
            async with serving() as house:
                body = b"x" * SMALL.body_bytes
                sized = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + body
                chunked = (
                    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                    b"Connection: close\r\n\r\n3e8\r\n" + body + b"\r\n0\r\n\r\n"
                )
                found = await ask(house.port, sized + chunked)
                assert [len(answer.body) for answer in found] == [1000, 1000]

        run_loop(story())

    def test_refusal_reaches_a_client_that_still_sends(self, run_loop: RunLoop) -> None:
        """A refused upload is read away, so that the refusal is not lost to a reset."""

        async def story() -> None:
            async with serving() as house:
                talk = await Talk.dial(house.port)
                head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n"
                await talk.send(head + bytes(20_000_000))
                talk.shut()
                assert answers(await talk.rest())[0].error["code"] == "REQUEST_TOO_LARGE"

        run_loop(story())

    @pytest.mark.parametrize(
        "start",
        [b"G", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", GET[:-2]],
        ids=["method", "header", "end"],
    )
    def test_half_sent_heads(self, run_loop: RunLoop, start: bytes) -> None:
        """A head that does not come to its end in time gets 408, trickling or not."""

        async def story() -> None:
            async with serving(timing=QUICK) as house:
                talk = await Talk.dial(house.port)
                await talk.send(start)
                assert answers(await talk.rest())[0].error["code"] == "REQUEST_TIMEOUT"

        run_loop(story())

    def test_half_sent_bodies(self, run_loop: RunLoop) -> None:
        """A body has its time too, counted as a whole: a trickle does not extend it."""

        async def story() -> None:
            async with serving(timing=QUICK) as house:
                talk = await Talk.dial(house.port)
                await talk.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n")
                reading = asyncio.ensure_future(talk.rest())
                while not reading.done():
                    await talk.send(b"x")
                    await asyncio.wait({reading}, timeout=0.02)
                assert answers(reading.result())[0].status == 408

        run_loop(story())

    def test_slow_uploads_that_go_on(self, run_loop: RunLoop) -> None:
        """An upload earns time by what it sends: one that outlasts the limit at a fair speed is
        taken."""

        async def story() -> None:
            bounds = replace(SMALL, body_bytes=1 << 20)
            async with serving(bounds, QUICK) as house:
                talk = await Talk.dial(house.port)
                head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "
                await talk.send(head + b"200000\r\n\r\n")
                for _ in range(10):
                    await talk.send(b"x" * 20_000)
                    await house.sweeps(1)
                assert len(answers(await talk.rest())[0].body) == 200_000

        run_loop(story())

    def test_silent_connections(self, run_loop: RunLoop) -> None:
        """A connection that says nothing is closed without a word, fresh or between requests; one
        that waits for an answer is not."""

        async def story() -> None:
            async with serving(timing=QUICK) as house:
                waiting, exchange = await house.hold(_hold("GET", "Connection: close"))
                fresh = await Talk.dial(house.port)
                assert await fresh.rest() == b""
                kept = await Talk.dial(house.port)
                await kept.send(GET)
                assert len(answers(await kept.rest())) == 1
                exchange.respond(200, [], b"patience")
                assert answers(await waiting.rest())[0].body == b"patience"

        run_loop(story())

    def test_connections_are_counted(self, run_loop: RunLoop) -> None:
        """One connection too many is told so; when one ends there is room again."""

        async def story() -> None:
            async with serving(replace(SMALL, connections=3)) as house:
                talks = [await Talk.dial(house.port) for _ in range(3)]
                for talk in talks:
                    await talk.send(GET)
                    await talk.receive()
                refused = await Talk.dial(house.port)
                [answer] = answers(await refused.rest())
                assert (answer.status, answer.error["code"]) == (503, "TOO_MANY_CONNECTIONS")
                assert answer.headers["retry-after"] == "1"
                talks[0].close()
                await until(lambda: len(house.server._connections) < 3)
                assert (await ask(house.port, GET_CLOSE))[0].status == 200

        run_loop(story())


class TestFaults:
    def test_a_handler_that_raises(self, run_loop: RunLoop) -> None:
        """The client gets a shaped 500 without the exception's words, `on_error` gets the
        exception, and the connection goes on."""

        async def story() -> None:
            async with serving() as house:
                fault = b"GET /fault HTTP/1.1\r\nHost: a\r\n\r\n"
                found = await ask(house.port, fault + GET_CLOSE)
                assert [answer.status for answer in found] == [500, 200]
                assert found[0].error["code"] == "INTERNAL"
                assert b"secret" not in found[0].body
                assert isinstance(house.faults[0], KeyError)

        run_loop(story())

    def test_faults_are_never_silent(self, run_loop: RunLoop) -> None:
        """Without `on_error` a fault reaches the exception handler of the loop."""

        async def story() -> None:
            async with serving() as house:
                told: list[object] = []
                handler = lambda _, context: told.append(context["exception"])  # noqa: E731
                asyncio.get_running_loop().set_exception_handler(handler)
                house.server.on_error = None
                data = b"GET /fault HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                assert (await ask(house.port, data))[0].status == 500
                assert isinstance(told[0], KeyError)

        run_loop(story())

    def test_a_callback_that_raises(self, run_loop: RunLoop) -> None:
        """A fault in `on_closed` is told and harms nobody else."""

        async def story() -> None:
            async with serving() as house:
                talk, exchange = await house.hold(_hold())

                def fail() -> None:
                    raise KeyError("closed")

                exchange.on_closed = fail
                talk.close()
                await until(lambda: house.faults)
                assert (await ask(house.port, GET_CLOSE))[0].status == 200

        run_loop(story())


class TestDrain:
    def test_running_answers_go_on(self, run_loop: RunLoop) -> None:
        """`stop_accepting` refuses new connections and closes idle ones; `close` waits for the
        running answer, which says that the connection ends, and for its bytes to leave."""

        async def story() -> None:
            async with serving() as house:
                idle = await Talk.dial(house.port)
                await idle.send(GET)
                await idle.receive()
                talk, exchange = await house.hold(_hold())
                house.server.stop_accepting()
                assert await idle.rest() == b""
                with pytest.raises(ConnectionRefusedError):
                    await Talk.dial(house.port)
                closing = asyncio.ensure_future(house.server.close(5))
                await asyncio.wait({closing}, timeout=0.1)
                assert not closing.done()
                exchange.respond(200, [], b"last words")
                [answer] = answers(await talk.rest())
                assert (answer.body, answer.headers["connection"]) == (b"last words", "close")
                await closing

        run_loop(story())

    def test_grace_ends(self, run_loop: RunLoop) -> None:
        """What is not finished within the grace is cut, and its handler told."""

        async def story() -> None:
            async with serving() as house:
                talk, exchange = await house.hold(_hold())
                await house.server.close(0.1)
                assert exchange.closed
                assert house.hang_ups == 1
                talk.close()

        run_loop(story())

    def test_half_sent_requests_do_not_hold_it_up(self, run_loop: RunLoop) -> None:
        """A request that is only half here is not waited for."""

        async def story() -> None:
            async with serving() as house:
                talk = await Talk.dial(house.port)
                await talk.send(b"GET / HT")
                await until(lambda: house.server._connections)
                began = time.monotonic()
                await house.server.close(10)
                assert time.monotonic() - began < 2
                talk.close()

        run_loop(story())


class TestLeaks:
    def test_any_mixture_of_clients(self, run_loop: RunLoop) -> None:
        """After some hundred clients that leave in every way, in the head, in the body, waiting and
        in the stream, no exchange, connection or socket is left, and every handler was told."""

        async def story() -> None:
            before = _open_sockets()
            async with serving(replace(SMALL, connections=500), QUICK) as house:
                chance = random.Random(7)
                await asyncio.gather(*[_misbehave(house, chance) for _ in range(300)])
                await until(lambda: not house.server._connections)
                assert house.server.open_exchanges == 0
                told = [exchange for exchange in house.held if exchange.closed]
                assert all(exchange.closed or exchange.finished for exchange in house.held)
                assert house.hang_ups == len(told)
                assert not house.faults
                assert (await ask(house.port, GET_CLOSE))[0].status == 200
            await until(lambda: _open_sockets() == before)

        run_loop(story())


def _open_sockets() -> int:
    return len(psutil.Process().net_connections(kind="all"))


async def _misbehave(house: House, chance: random.Random) -> None:
    """One client that stops somewhere, and a handler that may or may not get on with it."""
    talk = await Talk.dial(house.port, receive_bytes=chance.choice([0, 4096]))
    data = chance.choice([_hold(), _hold(version="1.0"), _hold() + GET * 50, GET * 3])
    await talk.send(data[: chance.choice([len(data), len(data), chance.randrange(len(data))])])
    await asyncio.sleep(chance.random() * 0.05)
    for exchange in chance.sample(house.held, len(house.held) // 4):
        if exchange.finished or exchange.closed:
            continue
        act = chance.choice(["respond", "stream", "stream", "abort"])
        if act == "abort":
            exchange.abort()
        elif exchange.started:
            exchange.write(b"x" * chance.choice([10, 100_000]))
            exchange.finish()
        elif act == "stream":
            exchange.start(200, [])
            exchange.write(b"x" * chance.choice([10, 100_000]))
        else:
            exchange.respond(200, [], b"x" * chance.choice([10, 100_000]))
    if chance.random() < 0.4:
        talk.shut()
    await asyncio.sleep(chance.random() * 0.05)
    chance.choice([talk.close, talk.reset])()
