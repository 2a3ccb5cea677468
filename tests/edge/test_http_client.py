"""Promises of the HTTP client: its pool, and how it connects."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

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


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that nobody has signed, its key beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("program: openssl")
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    for_whom = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run([*made, *files, *for_whom], check=True, capture_output=True, timeout=30)
    return tmp_path / "cert.pem"


class TestFarAway:
    @pytest.mark.parametrize("trusted", [True, False])
    def test_tls_with_a_certificate_that_is_looked_at(
        self,
        run_loop: RunLoop,
        certificate: Path,
        trusted: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A server is spoken to if its certificate is trusted and names it; else it is told why."""
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        keys = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        keys.load_cert_chain(certificate, certificate.with_name("key.pem"))

        async def story() -> None:
            engine = Engine(always(OK))
            server = await asyncio.start_server(engine.connected, "localhost", 0, ssl=keys)
            client = HttpClient(2.0)
            endpoint = Endpoint("localhost", server.sockets[0].getsockname()[1], tls=True)
            try:
                if trusted:
                    for _ in range(2):
                        response = await client.request(endpoint, "GET", "/x", [])
                        assert await response.read(100) == b"ok"
                    assert client.connects == 1
                else:
                    with pytest.raises(ConnectionLost, match="certificate is not trusted"):
                        await client.request(endpoint, "GET", "/x", [])
            finally:
                await client.close()
                server.close()

        run_loop(story())

    def test_a_server_without_tls_is_told_so(self, run_loop: RunLoop) -> None:
        """And not waited for."""

        async def story() -> None:
            async with playing(always(OK)) as (engine, client):
                endpoint = Endpoint("127.0.0.1", engine.endpoint.port, tls=True)
                with pytest.raises(ConnectionLost):
                    await client.request(endpoint, "GET", "/x", [])

        run_loop(story())

    def test_a_name_that_is_nobodys(self, run_loop: RunLoop) -> None:
        """The resolver's word, not a number of an error."""

        async def story() -> None:
            client = HttpClient(5.0)
            with pytest.raises(ConnectionLost, match=r"cannot be resolved|no connection within"):
                await client.request(Endpoint("no-such-host.invalid", 80), "GET", "/", [])

        run_loop(story())

    @pytest.mark.parametrize(
        ("endpoint", "said"),
        [
            (Endpoint("127.0.0.1", 80), "127.0.0.1"),
            (Endpoint("box", 443), "box:443"),
            (Endpoint("box", 443, tls=True), "box"),
            (Endpoint("::1", 8000), "[::1]:8000"),
        ],
    )
    def test_who_is_spoken_to(self, endpoint: Endpoint, said: str) -> None:
        """The Host header leaves out a port that goes without saying."""
        assert endpoint.authority == said
