"""Promises of `worker.engine_http`, against servers that behave as engines do and do not."""

from __future__ import annotations

import asyncio
import socket

import pytest

from rbee.worker import engine_http


async def _ask(answer: bytes, *, healthy: bool) -> bool:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        if healthy:
            return await engine_http.is_healthy(port)
        return await engine_http.is_idle(port, "key")


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [
        (b'HTTP/1.1 200 OK\r\n\r\n{"status":"ok"}', True),
        (b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"error":{}}', False),
        (b"", False),
        (b"nonsense", False),
        (b"HTTP/1.1 2xx\r\n\r\n", False),
    ],
)
def test_healthy_is_200_and_nothing_else(answer: bytes, healthy: bool) -> None:
    """A loading engine answers 503."""
    assert asyncio.run(_ask(answer, healthy=True)) is healthy


@pytest.mark.parametrize(
    ("answer", "idle"),
    [
        (b'HTTP/1.1 200 OK\r\n\r\n[{"id":0,"is_processing":true}]', False),
        (b'HTTP/1.1 200 OK\r\n\r\n[{"id":0,"is_processing":false}]', True),
        (b"HTTP/1.1 200 OK\r\n\r\nnot json", True),
        (b"HTTP/1.1 501 No\r\n\r\n{}", True),
    ],
)
def test_an_engine_that_does_not_say_that_it_works_is_idle(answer: bytes, idle: bool) -> None:
    """A forsaken worker does not wait for an engine that cannot answer."""
    assert asyncio.run(_ask(answer, healthy=False)) is idle


def test_nobody_there_is_not_healthy_and_idle() -> None:
    """A refused connection is an answer."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert asyncio.run(engine_http.is_healthy(port)) is False
    assert asyncio.run(engine_http.is_idle(port, "key")) is True
