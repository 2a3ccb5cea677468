"""A server of somebody else, for tests of the queen: raw bytes for each path, on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MODELS = {"data": [{"id": "their-model", "owned_by": "vllm", "max_model_len": 2048}]}


def said(value: object, status: int = 200, **headers: str) -> bytes:
    body = json.dumps(value).encode()
    more = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Foreign:
    """What it says to each path can be changed at any time; None: it says nothing."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {"/v1/models": said(MODELS)}
        self.heads: list[str] = []
        self.bodies: list[dict[str, object]] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Nothing listens any more."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = await reader.readexactly(int(lines.get("content-length", 0)))
                self.heads.append(head)
                if body:
                    self.bodies.append(json.loads(body))
                answer = self.answers.get(head.split(" ")[1], said({"error": "no"}, 404))
                if answer is not None:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def foreign() -> AsyncIterator[Foreign]:
    found = Foreign()
    await found.start()
    try:
        yield found
    finally:
        found.stop()
