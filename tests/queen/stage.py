"""A queen's HTTP side over real sockets, with engines that are told what to say.

The engine is the third party here: a raw socket server that plays one recorded or broken answer.
Router, lanes, dispatch, relay, HTTP server and client are the product's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx

from rbee.edge.http_server import HttpServer
from rbee.queen.core import Core
from rbee.queen.events import Events
from rbee.queen.job_routes import go_on
from rbee.queen.jobs import Jobs
from rbee.queen.route_table import ROUTES
from rbee.queen.routes import Route, Router
from rbee.queen.wishes import Wishes
from rbee.settings import Bounds, Limits, Settings, Timing
from rbee.wire.control import ModelView, WorkerView

MODEL = "tiny"

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: keep-alive\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


END = b"0\r\n\r\n"


def event(finish: str | None = None, index: int = 0, **delta: object) -> bytes:
    """A chat chunk as llama.cpp b11549 writes it."""
    choice = {"finish_reason": finish, "index": index, "delta": delta}
    said = {"choices": [choice], "created": 1, "id": "chatcmpl-x", "model": MODEL}
    return b"data: " + json.dumps(said, separators=(",", ":")).encode() + b"\n\n"


def progress(done: int, total: int) -> bytes:
    choice = {"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}
    said = {"choices": [choice], "prompt_progress": {"total": total, "cache": 0, "processed": done}}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


USAGE = b'data: {"choices":[],"usage":{"completion_tokens":2,"prompt_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = (
    HEAD
    + chunk(b":\n\n")
    + chunk(progress(0, 3))
    + chunk(event(role="assistant", content=None))
    + chunk(event(content="Hel"))
    + chunk(event(content="lo"))
    + chunk(event("stop"))
    + chunk(USAGE)
    + chunk(DONE)
    + END
)

Play = Callable[["Engine", asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


def say(*parts: bytes, then_close: bool = False) -> Play:
    """Answer with these bytes, whatever is asked."""

    async def play(
        engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then_close:
            writer.close()

    return play


def hold(*parts: bytes) -> Play:
    """Say this, then nothing more; the engine notes when the queen hangs up."""

    async def play(
        engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> None:
        for part in parts:
            writer.write(part)
        await writer.drain()
        while await reader.read(65536):
            pass
        engine.hung_up.set()

    return play


class Engine:
    """A raw HTTP server that plays one answer to each generation request."""

    def __init__(self, play: Play, *, healthy: bool = True) -> None:
        self.play = play
        self.healthy = healthy
        self.asked: list[dict[str, object]] = []
        self.hung_up = asyncio.Event()
        self.reached = asyncio.Event()
        self.let_go = asyncio.Event()
        """Set by a play that has come to its fault, and by the test that wants it to happen."""
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Engine]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                body = await reader.readexactly(length)
                if head.startswith(b"GET /health"):
                    if self.healthy:
                        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                    continue
                self.asked.append(json.loads(body) if body else {})
                await self.play(self, reader, writer, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up.set()
        finally:
            writer.close()


class Stage:
    """The queen's front on a port, and a client for it."""

    def __init__(self, core: Core, client: httpx.AsyncClient, router: Router) -> None:
        self.core = core
        self.client = client
        self.router = router

    def worker(self, engine: Engine, id_: str = "w1", slots: int = 2, settings: str = "s") -> None:
        view = WorkerView(
            id_,
            "h",
            MODEL,
            MODEL,
            "chat",
            "READY",
            port=engine.port,
            key="k",
            slots=slots,
            device="cpu",
            digest="sha256:x",
            build="b1",
            settings=settings,
        )
        self.core.roster.put(view)
        self.core.lanes.pump((MODEL, "chat"))

    async def chat(self, **fields: object) -> httpx.Response:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **fields}
        return await self.client.post("/v1/chat/completions", json=body)


@asynccontextmanager
async def stage(
    tmp_path: Path,
    *,
    timing: Timing = Timing(),
    limits: Limits = Limits(),
    bounds: Bounds = Bounds(),
    routes: dict[str, Route] = ROUTES,
    host: str = "127.0.0.1",
    met: bool = True,
) -> AsyncIterator[Stage]:
    """`host` is the address that the queen takes itself to listen on; it is always loopback. `met`:
    the hive has told what is stored."""
    settings = Settings(
        home=str(tmp_path), host=host, port=0, timing=timing, limits=limits, bounds=bounds
    )
    events = Events(tmp_path / "events.jsonl")
    core = Core(settings, Wishes(tmp_path / "wishes.json"), events, lambda *a, **k: None)
    core.roster.models = (
        ModelView(MODEL, MODEL, 1, "sha256:x", "test", 1.0, context_train_tokens=512),
    )
    if met:
        core.met.set()
    jobs = Jobs(core, tmp_path / "jobs.sqlite", partial(go_on, core))
    await jobs.open()
    router = Router(core, routes)
    server = HttpServer(router.handle, settings.bounds, settings.timing)
    port = await server.listen_tcp("127.0.0.1", 0)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield Stage(core, client, router)
    finally:
        router.end_all()
        await server.close(1.0)
        await jobs.close()
        await core.client.close()
        events.close()


def events_of(text: str) -> list[str]:
    """The blocks of an SSE body."""
    return [block for block in text.split("\n\n") if block]
