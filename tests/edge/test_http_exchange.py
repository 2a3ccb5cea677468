"""Promises about answers: what a well-behaved client sees, on both event loops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.edge.conftest import RunLoop
from tests.edge.http_house import GET_CLOSE, hold, serving
from tests.http_talk import Talk, answers, ask


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
                talk, exchange = await house.hold(hold("HEAD", "Connection: close"))
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
                talk, exchange = await house.hold(hold(version="1.0"), talk=talk)
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
                talk, exchange = await house.hold(hold("GET", "Connection: close"))
                for value in ("a\r\nx: y", "a\nb", "a\rb", "a\0b"):
                    with pytest.raises(ValueError, match="CR, LF or NUL"):
                        exchange.respond(200, [("x", value)], b"")
                exchange.respond(200, [], b"fine")
                assert answers(await talk.rest())[0].body == b"fine"

        run_loop(story())
