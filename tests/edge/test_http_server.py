"""Promises of the HTTP server: bounds, faults, drain, and nothing left behind."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import psutil
import pytest

from rbee.settings import Timing
from tests.edge.conftest import RunLoop
from tests.edge.http_house import GET, GET_CLOSE, QUICK, House, hold, serving
from tests.eventually import soon as until
from tests.http_talk import Talk, answers, ask
from tests.malformed_http import MALFORMED, SMALL


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
                waiting, exchange = await house.hold(hold("GET", "Connection: close"))
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
                talk, exchange = await house.hold(hold())

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
                talk, exchange = await house.hold(hold())
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
                talk, exchange = await house.hold(hold())
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


async def _turns(chance: random.Random) -> None:
    """Let the loop turn a few times."""
    for _ in range(chance.randrange(40)):
        await asyncio.sleep(0)


async def _misbehave(house: House, chance: random.Random) -> None:
    """One client that stops somewhere, and a handler that may or may not get on with it."""
    talk = await Talk.dial(house.port, receive_bytes=chance.choice([0, 4096]))
    data = chance.choice([hold(), hold(version="1.0"), hold() + GET * 50, GET * 3])
    await talk.send(data[: chance.choice([len(data), len(data), chance.randrange(len(data))])])
    await _turns(chance)
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
    await _turns(chance)
    chance.choice([talk.close, talk.reset])()
