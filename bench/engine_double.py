#!/usr/bin/env python3
"""A double of `llama-server` that makes tokens on a clock instead of with a model.

It stands in for an engine faster than this machine has: each of its streams gives a token every
2 ms, so that four make 2,000 a second; a request may say another pace, and that each token is the
time at which it was sent. It takes the flags that rbee gives a llama-server, prints
the line by which the real one tells its port, and writes chunks as llama.cpp b11549 does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

TOKEN_EVERY_S = 0.002
HEALTHY = b'{"status":"ok"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(said: object) -> bytes:
    data = b"data: " + json.dumps(said, separators=(",", ":")).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


class Double:
    """Serves one connection after another; the model's name is the alias that it was given."""

    def __init__(self, model: str) -> None:
        self._model = model

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.lower().split(b"\r\n")
                        if line.startswith(b"content-length:")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                if b"/chat/completions" in head.split(b"\r\n")[0]:
                    await self._stream(writer, json.loads(body))
                elif b"POST /completion" in head:
                    self._prove(writer)
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + HEALTHY)
                if b"\r\nconnection: close" in head.lower():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _prove(self, writer: asyncio.StreamWriter) -> None:
        """The answer to a worker's self-test: eight tokens."""
        said = [{"logprob": -0.1, "bytes": [97]} for _ in range(8)]
        body = json.dumps({"tokens": [*range(8)], "completion_probabilities": said}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def _stream(self, writer: asyncio.StreamWriter, asked: dict[str, object]) -> None:
        count = int(str(asked.get("max_tokens") or 16))
        every_s = float(str(asked.get("token_every_s") or TOKEN_EVERY_S))
        stamped = bool(asked.get("stamped"))
        writer.write(HEAD + self._chunk({"role": "assistant", "content": None}))
        due = time.perf_counter()
        for number in range(count):
            due += every_s
            wait_s = due - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            said = f" {time.perf_counter():.6f}" if stamped else f" {number}"
            writer.write(self._chunk({"content": said}))
            await writer.drain()
        usage = {"completion_tokens": count, "prompt_tokens": 1, "total_tokens": count + 1}
        done = b"data: [DONE]\n\n"
        writer.write(self._chunk({}, "length") + event({"choices": [], "usage": usage}))
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(done), done))
        await writer.drain()

    def _chunk(self, delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"finish_reason": finish, "index": 0, "delta": delta}
        return event(
            {
                "choices": [choice],
                "created": 1,
                "id": "chatcmpl-double",
                "model": self._model,
                "system_fingerprint": "b0-double",
                "object": "chat.completion.chunk",
            }
        )


async def run(port: int, model: str) -> None:
    server = await asyncio.start_server(Double(model).serve, "127.0.0.1", port)
    bound = server.sockets[0].getsockname()[1]
    print(f"main: server is listening on http://127.0.0.1:{bound}", file=sys.stderr, flush=True)
    await server.serve_forever()


def main() -> None:
    if "--version" in sys.argv:
        print("version: 0 (double)", file=sys.stderr)
        return
    if "--list-devices" in sys.argv:
        print("Available devices:")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--alias", default="double")
    known, _ = parser.parse_known_args()
    try:
        import uvloop
    except ImportError:
        asyncio.run(run(known.port, known.alias))
    else:
        uvloop.run(run(known.port, known.alias))


if __name__ == "__main__":
    main()
