"""Promises about answers of engines that misbehave: cut, split, endless, nonsense."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.edge.http_client import ConnectionLost
from tests.edge.conftest import RunLoop
from tests.edge.http_engine import CHUNKED, CHUNKED_BODY, OK, Engine, Tape, always, get, playing
from tests.eventually import soon as until


class TestBodies:
    def test_split_at_every_byte(self, run_loop: RunLoop) -> None:
        """A chunked answer is the same wherever TCP cuts it."""

        async def story() -> None:
            async def script(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                cut = 0
                while True:
                    await engine.next_request(reader)
                    cut += 1
                    writer.write(CHUNKED[:cut])
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                    writer.write(CHUNKED[cut:])

            async with playing(script) as (engine, client):
                for _ in range(len(CHUNKED) - 1):
                    response = await get(engine, client)
                    assert response.header("content-type") == "text/event-stream"
                    assert await response.read(100) == CHUNKED_BODY
                assert client.connects == 1

        run_loop(story())

    @pytest.mark.parametrize("whole", [OK, CHUNKED], ids=["sized", "chunked"])
    def test_cut_after_every_byte(self, run_loop: RunLoop, whole: bytes) -> None:
        """An answer cut anywhere is never taken for whole: before the body's end `request` or the
        body raises, with `sent`."""

        async def story() -> None:
            lengths = iter(range(len(whole)))

            async def script(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                await engine.next_request(reader)
                writer.write(whole[: next(lengths)])

            async with playing(script) as (engine, client):
                for _ in range(len(whole)):
                    with pytest.raises(ConnectionLost) as caught:
                        await (await get(engine, client)).read(100)
                    assert caught.value.sent
                assert len(engine.requests) == len(whole)

        run_loop(story())

    def test_body_until_the_connection_ends(self, run_loop: RunLoop) -> None:
        """An answer without a length ends with its connection; a reset is not that end."""

        async def story() -> None:
            bare = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000
            async with playing(always(bare, close=True)) as (engine, client):
                assert len(await (await get(engine, client)).read(2000)) == 1000

            async def reset(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                await engine.next_request(reader)
                writer.write(bare)
                await writer.drain()
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()

            async with playing(reset) as (engine, client):
                with pytest.raises(ConnectionLost):
                    await (await get(engine, client)).read(2000)

        run_loop(story())

    def test_answers_without_a_body(self, run_loop: RunLoop) -> None:
        """204 and HEAD have none; `100 Continue` in front is skipped."""

        async def story() -> None:
            async with playing(always(b"HTTP/1.1 204 No Content\r\n\r\n")) as (engine, client):
                for _ in range(2):
                    assert await (await get(engine, client)).read(10) == b""
                assert client.connects == 1
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
            async with playing(always(head)) as (engine, client):
                response = await get(engine, client, method="HEAD")
                assert response.header("content-length") == "5"
                assert await response.read(10) == b""
            interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK
            async with playing(always(interim)) as (engine, client):
                for _ in range(2):
                    response = await get(engine, client)
                    assert (response.status, response.header("link")) == (200, None)
                    assert await response.read(10) == b"ok"
                assert client.connects == 1

        run_loop(story())

    def test_larger_than_asked(self, run_loop: RunLoop) -> None:
        """A body beyond the limit raises and closes its connection; one of the limit is fine."""

        async def story() -> None:
            async with playing(always(OK)) as (engine, client):
                assert await (await get(engine, client)).read(2) == b"ok"
                with pytest.raises(ConnectionLost, match="larger than 1 bytes"):
                    await (await get(engine, client)).read(1)
            endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 100_000
            async with playing(always(endless)) as (engine, client):
                with pytest.raises(ConnectionLost, match="larger"):
                    await (await get(engine, client)).read(5000)
                await until(lambda: engine.ended == 1)

        run_loop(story())

    @pytest.mark.parametrize(
        "answer",
        [
            b"complete nonsense\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\nX\0: y\r\n\r\n",
        ],
        ids=["garbage", "status", "endless", "too many", "upgrade", "lengths", "NUL"],
    )
    def test_answers_that_are_not_http(self, run_loop: RunLoop, answer: bytes) -> None:
        """An engine that talks nonsense is an error with a reason, and its connection is closed."""

        async def story() -> None:
            async with playing(always(answer)) as (engine, client):
                with pytest.raises(ConnectionLost) as caught:
                    await (await get(engine, client)).read(1 << 20)
                assert caught.value.problem
                assert caught.value.sent
                await until(lambda: engine.ended == 1)

        run_loop(story())


class TestStreams:
    def test_told_once_per_read(self, run_loop: RunLoop) -> None:
        """A sink is told of bytes as they come, many chunks at once if they came at once, then of
        the end, once; `last_byte_at` follows."""

        async def story() -> None:
            parts: asyncio.Queue[bytes] = asyncio.Queue()

            async def script(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                await engine.next_request(reader)
                while part := await parts.get():
                    writer.write(part)

            async with playing(script) as (engine, client):
                head, rest = CHUNKED.split(b"\r\n\r\n", 1)
                parts.put_nowait(head + b"\r\n\r\n")
                response = await get(engine, client)
                tape = Tape()
                response.stream(tape)
                before = response.last_byte_at
                assert tape.calls == []
                await until(lambda: asyncio.get_running_loop().time() > before)
                parts.put_nowait(rest)
                await until(lambda: "end" in tape.calls)
                assert tape.calls == ["data", "end"]
                assert tape.body == CHUNKED_BODY
                assert response.last_byte_at > before
                parts.put_nowait(b"")

        run_loop(story())

    def test_what_came_before_anybody_asked(self, run_loop: RunLoop) -> None:
        """A body that was complete before `stream` was called is told at once."""

        async def story() -> None:
            async with playing(always(CHUNKED)) as (engine, client):
                response = await get(engine, client)
                await until(lambda: response.complete)
                tape = Tape()
                response.stream(tape)
                assert tape.calls == ["data", "end"]
                other = await get(engine, client)
                assert await other.read(100) == tape.body == CHUNKED_BODY
                assert client.connects == 1

        run_loop(story())

    @pytest.mark.parametrize("asked", [True, False], ids=["paused", "not asked for"])
    def test_back_pressure(self, run_loop: RunLoop, asked: bool) -> None:
        """A body that is paused, or that nobody takes, holds the engine back; then all arrives."""

        async def story() -> None:
            total = 60_000_000
            written = 0
            going = asyncio.Event()

            async def script(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                nonlocal written
                await engine.next_request(reader)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
                while written < total:
                    writer.write(b"x" * 100_000)
                    written += 100_000
                    going.set()
                    await writer.drain()

            async with playing(script) as (engine, client):
                response = await get(engine, client)
                tape = Tape()
                if asked:
                    response.stream(tape)
                    response.pause()
                with pytest.raises(TimeoutError):
                    while True:
                        going.clear()
                        await asyncio.wait_for(going.wait(), 0.2)
                assert written < total / 2
                assert len(tape.body) + response.unread_bytes < 2_000_000
                if asked:
                    response.resume()
                    await until(lambda: "end" in tape.calls)
                    assert len(tape.body) == total
                else:
                    assert len(await response.read(total)) == total

        run_loop(story())

    def test_close_is_seen_by_the_engine(self, run_loop: RunLoop) -> None:
        """`close` in the middle hangs up at once, even while paused, and the sink hears no more."""

        async def story() -> None:
            async def script(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                await engine.next_request(reader)
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
                await reader.read()

            async with playing(script) as (engine, client):
                response = await get(engine, client)
                tape = Tape()
                response.stream(tape)
                await until(lambda: tape.body)
                response.pause()
                began = time.monotonic()
                response.close()
                await until(lambda: engine.ended == 1)
                assert time.monotonic() - began < 0.5
                assert tape.calls == ["data"]

        run_loop(story())

    def test_cut_in_a_stream(self, run_loop: RunLoop) -> None:
        """A stream that breaks tells its sink once, with what came before."""

        async def story() -> None:
            cut = CHUNKED[: CHUNKED.index(b"9;")]
            async with playing(always(cut, close=True)) as (engine, client):
                response = await get(engine, client)
                tape = Tape()
                response.stream(tape)
                await until(lambda: "lost" in tape.calls)
                assert tape.body == b"data: 1\n\n"
                assert tape.calls[-1:] == ["lost"]
                assert tape.problem == "it closed the connection in the middle of its answer"

        run_loop(story())

    def test_a_cancelled_caller(self, run_loop: RunLoop) -> None:
        """Cancelling `request` or `read` hangs up."""

        async def story() -> None:
            async def script(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                if b" /x " in await engine.next_request(reader):
                    await reader.read()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
                await reader.read()

            async with playing(script) as (engine, client):
                asking = asyncio.ensure_future(get(engine, client))
                await until(lambda: engine.requests)
                asking.cancel()
                await until(lambda: engine.ended == 1)
                response = await client.request(engine.endpoint, "GET", "/y", [])
                reading = asyncio.ensure_future(response.read(100))
                await asyncio.wait({reading}, timeout=0.05)
                reading.cancel()
                await until(lambda: engine.ended == 2)

        run_loop(story())

    def test_close_of_the_client(self, run_loop: RunLoop) -> None:
        """`HttpClient.close` ends kept and running connections; nothing is asked after it."""

        async def story() -> None:
            async def script(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                await engine.next_request(reader)
                writer.write(OK if engine.connections == 1 else CHUNKED[:-5])
                await reader.read()

            async with playing(script) as (engine, client):
                held = await get(engine, client)
                await held.read(10)
                busy = asyncio.ensure_future(get(engine, client))
                await until(lambda: len(engine.requests) >= 1)
                await asyncio.wait({busy}, timeout=0.05)
                await client.close()
                await until(lambda: engine.ended == engine.connections)
                with pytest.raises(ConnectionLost, match="closed") as caught:
                    await get(engine, client)
                assert not caught.value.sent
                busy.cancel()

        run_loop(story())


@settings(max_examples=200, deadline=None)
@given(
    place=st.integers(0, len(CHUNKED)),
    drop=st.integers(0, 20),
    word=st.sampled_from(
        [
            b"",
            b"\r\n",
            b"\0",
            b"\xff",
            b"0\r\n\r\n",
            b"fffffff\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"Content-Length: 3\r\n",
            b"Connection: upgrade\r\nUpgrade: x\r\n",
            b"x" * 70_000,
        ]
    ),
)
def test_fuzz_of_answers(place: int, drop: int, word: bytes) -> None:
    """Whatever an engine answers, the request ends in a body or in ConnectionLost; nothing hangs
    and nothing else is raised, on the loop neither."""
    answer = CHUNKED[:place] + word + CHUNKED[place + drop :]
    faults: list[str] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(str(context)))
        async with playing(always(answer, close=True)) as (engine, client):
            try:
                body = await (await get(engine, client)).read(1 << 20)
            except ConnectionLost as lost:
                assert lost.sent
            else:
                assert isinstance(body, bytes)

    asyncio.run(asyncio.wait_for(story(), 10))
    assert not faults
