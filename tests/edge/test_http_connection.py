"""Promises of a connection: order, back-pressure, and noticing who left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.edge.conftest import RunLoop
from tests.edge.http_house import GET, GET_CLOSE, QUICK, fill, hold, serving
from tests.eventually import soon as until
from tests.http_talk import Talk, answers, ask
from tests.malformed_http import SMALL


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
                talk, exchange = await house.hold(hold())
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
                talk, exchange = await house.hold(hold() + b"BREW / HTTP/1.1\r\n\r\n" + GET)
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
                await talk.send(hold("GET", "Connection: close"))
                await until(lambda: house.held)
                exchange = house.held[0]
                writable = asyncio.Event()
                exchange.on_writable = writable.set
                exchange.start(200, [])
                sent = await fill(exchange)
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
                talk, exchange = await house.hold(hold())
                exchange.start(200, [])
                await fill(exchange)
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
                talk, exchange = await house.hold(hold())
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
                talk, exchange = await house.hold(hold() + GET * 2000)
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
                _, exchange = await house.hold(hold(), talk=talk)
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
                    _, exchange = await house.hold(hold(), talk=talk)
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
                talk, exchange = await house.hold(hold())
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
                talk, exchange = await house.hold(hold() + GET * 3000)
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
                talk, exchange = await house.hold(hold())
                exchange.start(200, [])
                exchange.write(b"part")
                await talk.receive_until(b"part\r\n")
                exchange.abort()
                assert b"0\r\n\r\n" not in await talk.rest()
                await until(lambda: exchange.closed)

        run_loop(story())
