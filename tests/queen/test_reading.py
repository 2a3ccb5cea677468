"""Promises of reading large bodies: nobody else waits for it, and nothing is let pass by it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rbee.errors import RbeeError
from rbee.queen.reading import hash_of, read_object
from rbee.wire.control import WorkerView
from rbee.wire.large_body import LARGE_BYTES
from tests.eventually import soon
from tests.queen.stage import MODEL, WHOLE, stage

SIZE_BYTES = 16 << 20
LONGEST_TURN_S = 0.05
"""Of the loop that everybody's tokens pass through."""

ESCAPES = '{"a": "b\\\\"}\n'
PICTURE = "iVBORw0KGgo"


def chat(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def picture(size_bytes: int) -> dict[str, Any]:
    url = {"url": "data:image/png;base64," + PICTURE * (size_bytes // len(PICTURE))}
    return chat([{"type": "image_url", "image_url": url}])


BODIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "a picture": picture,
    "a text of escapes": lambda size: chat(ESCAPES * (size // 24)),
    "a text in many alphabets": lambda size: chat("Zürich 東京 🐟 " * (size // 25)),
    "many messages": lambda size: {
        "messages": [{"role": "user", "content": "x" * (size // 40_000)}] * 38_000
    },
    "a prompt of tokens": lambda size: {"prompt": [123456] * min(1_000_000, size // 7)},
}


@contextmanager
def engine() -> Iterator[int]:
    """Threads of their own that take any request and answer it, at no cost for the loop."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                continue
            with peer, peer.makefile("rb", buffering=1 << 20) as file:
                peer.settimeout(20)
                size = 0
                while line := file.readline().strip():
                    if line.lower().startswith(b"content-length:"):
                        size = int(line.split(b":")[1])
                file.read(size)
                peer.sendall(WHOLE)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    over.set()
    thread.join(20)
    listener.close()


def post(port: int, path: str, body: bytes) -> bytes:
    """Over a plain socket, in a thread: all that it costs is the kernel's work."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        sock.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        sock.sendall(body)
        received = b""
        while block := sock.recv(1 << 16):
            received += block
    return received


@asynccontextmanager
async def turns() -> AsyncIterator[list[float]]:
    """CPU seconds of the loop's turns: what others waited, however busy the machine is."""
    found: list[float] = []
    loop, last = asyncio.get_running_loop(), time.thread_time()
    over = False

    def turn() -> None:
        nonlocal last
        now = time.thread_time()
        found.append(now - last)
        last = now
        if not over:
            loop.call_soon(turn)

    loop.call_soon(turn)
    yield found
    over = True


CHAT, JOBS = "/v1/chat/completions", "/v1/jobs"


@pytest.mark.parametrize(
    ("kind", "path"), [*((kind, CHAT) for kind in BODIES), ("a picture", JOBS)]
)
def test_16_megabytes_hold_nobody_up(tmp_path: Path, kind: str, path: str) -> None:
    """Whatever they hold, no turn of the loop is longer than 50 ms of work, and they are served."""
    value = {"model": MODEL, **BODIES[kind](SIZE_BYTES), "stream": True}
    body = json.dumps({"request": value} if path == JOBS else value, ensure_ascii=False).encode()

    async def story() -> tuple[bytes, float]:
        with engine() as engine_port:
            async with stage(tmp_path) as here:
                view = WorkerView(
                    "w1", "h", MODEL, MODEL, "chat", "READY", port=engine_port, key="k", slots=2
                )
                here.core.roster.put(view)
                async with turns() as found:
                    port = here.client.base_url.port
                    assert port is not None
                    said = await asyncio.to_thread(post, port, path, body)
                    await soon(lambda: here.core.counters.requests[MODEL, "ok"] == 1)
                return said, max(found)

    said, longest_s = asyncio.run(story())

    assert said.startswith(b"HTTP/1.1 20"), said[:300]
    assert longest_s < LONGEST_TURN_S


@pytest.mark.parametrize("size_bytes", [10, LARGE_BYTES + 1])
def test_a_hash_tells_bodies_apart(size_bytes: int) -> None:
    """And routes; however large they are."""

    async def story() -> None:
        first, second = b"x" * size_bytes, b"x" * (size_bytes - 1) + b"y"
        found = {
            await hash_of("/a", first),
            await hash_of("/a", second),
            await hash_of("/b", first),
        }
        assert len(found) == 3 and await hash_of("/a", first) in found

    asyncio.run(story())


@pytest.mark.parametrize("rest", [b"[]", b'"\xff"', b"[" * 65 + b"]" * 65, b'{"b":'])
def test_a_large_body_is_checked_as_a_small_one_is(rest: bytes) -> None:
    """The same is refused, with the same code."""

    async def refused(body: bytes) -> bool:
        try:
            await read_object(body, nesting=64)
        except RbeeError as error:
            return error.code == "INVALID_REQUEST"
        return False

    async def story() -> None:
        small = b'{"a":' + rest + b"}"
        large = b'{"z":"' + b"x" * LARGE_BYTES + b'",' + small[1:]
        assert await refused(small) == await refused(large) == (rest != b"[]")

    asyncio.run(story())
