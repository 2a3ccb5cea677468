"""Promises of the HTTP client, kept against engines that misbehave on real sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.edge.conftest import RunLoop
from tests.http_talk import until

from rbee.edge.http_client import ConnectionLost, Endpoint, HttpClient, Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9\r\ndata: 1\n\n\r\n9;x=y\r\ndata: 2\n\n\r\n0\r\nT: v\r\n\r\n"
)
CHUNKED_BODY = b"data: 1\n\ndata: 2\n\n"

Script = Callable[["Engine", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Engine:
    """A raw socket that plays a script for each connection."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.requests: list[bytes] = []
        self.ended = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.endpoint = Endpoint("127.0.0.1", 0)

    async def next_request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        whole = head + await reader.readexactly(length)
        self.requests.append(whole)
        return whole

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            await self.script(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended += 1
            writer.close()


class Tape:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.calls: list[str] = []
        self.problem = ""

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def data(self, chunk: bytes) -> None:
        self.parts.append(chunk)
        self.calls.append("data")

    def end(self) -> None:
        self.calls.append("end")

    def lost(self, problem: str) -> None:
        self.calls.append("lost")
        self.problem = problem


@asynccontextmanager
async def playing(script: Script, **options: int) -> AsyncIterator[tuple[Engine, HttpClient]]:
    engine = Engine(script)
    server = await asyncio.start_server(engine.connected, "127.0.0.1", 0)
    engine.endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    client = HttpClient(2.0, **options)
    try:
        yield engine, client
    finally:
        await client.close()
        server.close()
        for writer in engine.writers:
            writer.close()
        await until(lambda: engine.ended == engine.connections)


def always(answer: bytes, *, close: bool = False) -> Script:
    """Answer each request so; `close` ends the connection after the first."""

    async def script(
        engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            await engine.next_request(reader)
            writer.write(answer)
            await writer.drain()
            if close:
                return

    return script


async def get(engine: Engine, client: HttpClient, *, method: str = "GET") -> Response:
    return await client.request(engine.endpoint, method, "/x", [("authorization", "Bearer k")])


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
                    await asyncio.sleep(0.001)
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

            async def script(
                engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                nonlocal written
                await engine.next_request(reader)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
                while written < total:
                    writer.write(b"x" * 100_000)
                    written += 100_000
                    await writer.drain()

            async with playing(script) as (engine, client):
                response = await get(engine, client)
                tape = Tape()
                if asked:
                    response.stream(tape)
                    response.pause()
                seen = -1
                while seen != written:
                    seen = written
                    await asyncio.sleep(0.1)
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
