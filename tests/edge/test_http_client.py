"""Promises of the HTTP client: its pool, and how it connects."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from rbee.edge.http_client import ConnectionLost, Endpoint, HttpClient
from tests.edge.conftest import RunLoop
from tests.edge.http_engine import CHUNKED, OK, Engine, always, get, playing
from tests.eventually import soon as until


class TestPool:
    @pytest.mark.parametrize("answer", [OK, CHUNKED], ids=["sized", "chunked"])
    def test_one_connection_for_many_requests(self, run_loop: RunLoop, answer: bytes) -> None:
        """Two hundred requests one after the other make one connection."""

        async def story() -> None:
            async with playing(always(answer)) as (engine, client):
                for _ in range(200):
                    response = await get(engine, client)
                    assert response.status == 200
                    await response.read(100)
                assert client.connects == engine.connections == 1
                assert b"authorization: Bearer k\r\n" in engine.requests[0]

        run_loop(story())

    def test_many_at_once(self, run_loop: RunLoop) -> None:
        """Sixteen callers share the pool without mixing up their answers: a connection may be
        taken again before the caller whose answer freed it has run."""

        async def story() -> None:
            async def echo(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                while True:
                    path = (await engine.next_request(reader)).split()[1]
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path)
                    writer.write(head + path)

            async with playing(echo) as (engine, client):

                async def caller(name: int) -> None:
                    for turn in range(50):
                        path = f"/{name}/{turn}"
                        response = await client.request(engine.endpoint, "GET", path, [])
                        assert await response.read(100) == path.encode()

                await asyncio.gather(*[caller(name) for name in range(16)])
                assert client.connects <= 16

        run_loop(story())

    def test_last_used_first(self, run_loop: RunLoop) -> None:
        """Of several kept connections the one used last is used again; at most `idle_max` stay."""

        async def story() -> None:
            gate = asyncio.Event()

            async def script(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                mine = str(engine.connections).encode()
                while True:
                    await engine.next_request(reader)
                    await gate.wait()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + mine)

            async with playing(script, idle_max=3) as (engine, client):
                asking = [asyncio.ensure_future(get(engine, client)) for _ in range(5)]
                await until(lambda: len(engine.requests) == 5)
                gate.set()
                bodies = [await (await task).read(10) for task in asking]
                assert sorted(bodies) == [b"1", b"2", b"3", b"4", b"5"]
                await until(lambda: engine.ended == 2)
                names = [await (await get(engine, client)).read(10) for _ in range(5)]
                assert len(set(names)) == 1
                assert client.connects == 5

        run_loop(story())

    def test_a_kept_connection_that_the_engine_closed(self, run_loop: RunLoop) -> None:
        """An engine that closes idle connections costs a new connection, not an error."""

        async def story() -> None:
            async with playing(always(OK, close=True)) as (engine, client):
                for _ in range(20):
                    assert await (await get(engine, client)).read(10) == b"ok"
                assert len(engine.requests) == 20
                assert client.connects == 20

        run_loop(story())

    def test_closed_just_as_we_send(self, run_loop: RunLoop) -> None:
        """A kept connection that dies before a byte of the answer is replaced once, unseen."""

        async def story() -> None:
            async def script(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                await engine.next_request(reader)
                writer.write(OK)
                await engine.next_request(reader)

            async with playing(script) as (engine, client):
                for _ in range(2):
                    assert await (await get(engine, client)).read(10) == b"ok"
                assert client.connects == 2
                assert len(engine.requests) == 3

        run_loop(story())

    def test_no_second_try_otherwise(self, run_loop: RunLoop) -> None:
        """A fresh connection that dies, or a kept one that dies after the first byte of its answer,
        is an error at once: the engine may have begun to work."""

        async def story() -> None:
            async def mute(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                await engine.next_request(reader)

            async with playing(mute) as (engine, client):
                with pytest.raises(ConnectionLost, match="closed the connection") as caught:
                    await get(engine, client)
                assert caught.value.sent
                assert len(engine.requests) == 1

            async def stutter(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                await engine.next_request(reader)
                writer.write(OK)
                await engine.next_request(reader)
                writer.write(b"HTTP/1.1 2")

            async with playing(stutter) as (engine, client):
                await (await get(engine, client)).read(10)
                with pytest.raises(ConnectionLost, match="in the middle"):
                    await get(engine, client)
                assert len(engine.requests) == 2

        run_loop(story())

    @pytest.mark.parametrize(
        "answer",
        [
            OK.replace(b"Content", b"Connection: close\r\nContent"),
            OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
            OK + b"and more",
            OK + OK,
        ],
        ids=["told to close", "HTTP/1.0", "trailing bytes", "two answers"],
    )
    def test_connections_not_to_keep(self, run_loop: RunLoop, answer: bytes) -> None:
        """A connection that cannot be trusted to be in step is not used again."""

        async def story() -> None:
            async with playing(always(answer)) as (engine, client):
                for _ in range(3):
                    assert await (await get(engine, client)).read(10) == b"ok"
                assert client.connects == 3

        run_loop(story())


class TestConnecting:
    def test_nobody_listens(self, run_loop: RunLoop) -> None:
        """A refused connection says so, and that nothing was sent."""

        async def story() -> None:
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))
                port = sock.getsockname()[1]
                with pytest.raises(ConnectionLost) as caught:
                    await HttpClient(2.0).request(Endpoint("127.0.0.1", port), "GET", "/", [])
                assert not caught.value.sent
                assert "refused" in caught.value.problem.lower()

        run_loop(story())

    def test_nobody_accepts(self, run_loop: RunLoop) -> None:
        """A listener whose backlog is full is given up after `connect_s`."""

        async def story() -> None:
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))
                sock.listen(0)
                address = sock.getsockname()
                crowd = [socket.socket() for _ in range(4)]
                for one in crowd:
                    one.setblocking(False)
                    one.connect_ex(address)
                began = time.monotonic()
                with pytest.raises(ConnectionLost, match=r"within 0\.2 s") as caught:
                    await HttpClient(0.2).request(Endpoint(*address), "GET", "/", [])
                assert not caught.value.sent
                assert time.monotonic() - began < 1
                for one in crowd:
                    one.close()

        run_loop(story())

    def test_nothing_can_be_injected(self, run_loop: RunLoop) -> None:
        """Paths and headers that would break out of their line are refused before connecting."""

        async def story() -> None:
            client = HttpClient(2.0)
            nowhere = Endpoint("127.0.0.1", 9)
            for path, value in (("/a b", "x"), ("/a\r\nb", "x"), ("/", "x\r\ny: z"), ("/é", "x")):
                with pytest.raises(ValueError, match="break out"):
                    await client.request(nowhere, "GET", path, [("x", value)])
            assert client.connects == 0

        run_loop(story())
