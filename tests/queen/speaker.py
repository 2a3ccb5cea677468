"""An engine that answers what it is asked, word by word, and then breaks as it is told.

The same request gets the same words; an assistant's message at the end is gone on from.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

from tests.queen.stage import DONE, END, HEAD, Engine, Play, chunk, hold, progress

WORDS = ("One ", "fish ", "two ", "fish ", "red 🐟 ", "fish ", "blue ", "fish.")
TEXT = "".join(WORDS)

Events = list[bytes]
Break = Callable[[Engine, asyncio.StreamReader, asyncio.StreamWriter], Any]


def said(data: dict[str, Any], id_: str) -> bytes:
    whole = {**data, "created": len(id_), "id": id_, "model": "tiny", "system_fingerprint": id_}
    return b"data: " + json.dumps(whole, ensure_ascii=False).encode() + b"\n\n"


def delta(id_: str, finish: str | None = None, index: int = 0, **fields: Any) -> bytes:
    return said({"choices": [{"finish_reason": finish, "index": index, "delta": fields}]}, id_)


def usage(id_: str, prompt: int, words: int) -> bytes:
    counts = {"completion_tokens": words, "prompt_tokens": prompt, "total_tokens": prompt + words}
    return said({"choices": [], "usage": counts}, id_)


def words_for(body: dict[str, Any], words: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """What is left to say, and how many words stand in the prompt already."""
    last = body.get("messages", [{}])[-1]
    begun = last.get("content", "") if last.get("role") == "assistant" else ""
    count = 0
    while begun and count < len(words) and "".join(words[:count]) != begun:
        count += 1
    return words[count:], count


def answer(body: dict[str, Any], words: tuple[str, ...], id_: str, cached: int) -> Events:
    """The events of a whole answer; the second and those after it carry a word each."""
    rest, begun = words_for(body, words)
    limit = body.get("max_tokens")
    rest = rest[:limit] if limit else rest
    finish = "length" if limit and len(rest) == limit else "stop"
    events = [delta(id_, role="assistant", content=None)]
    events += [delta(id_, content=word) for word in rest]
    events += [delta(id_, finish), usage(id_, 3 + begun, len(rest)), DONE]
    read = progress(3 + begun, 3 + begun).replace(b'"cache": 0', b'"cache": %d' % cached)
    return [read, *events]


def speak(
    *,
    breaks: Break | None = None,
    after: int = 0,
    words: tuple[str, ...] = WORDS,
    id_: str = "a",
    cached: int = 0,
    events: Events | None = None,
) -> Play:
    """Say the answer; with `breaks`, that happens after so many events past the first two."""

    async def play(
        engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> None:
        all_ = events if events is not None else answer(json.loads(body), words, id_, cached)
        writer.write(HEAD)
        for event in all_ if breaks is None else all_[: after + 2]:
            writer.write(chunk(event))
            await writer.drain()
        if breaks is None:
            writer.write(END)
        else:
            await breaks(engine, reader, writer)

    return play


async def trickle(
    engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> None:
    """The whole answer, byte by byte, each in a packet of its own."""
    said = b"".join(map(chunk, answer(json.loads(body), WORDS, "a", 0)))
    for at in range(len(HEAD + said + END)):
        writer.write((HEAD + said + END)[at : at + 1])
        await writer.drain()


async def cut(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def stall(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await hold()(engine, reader, writer, b"")


async def end(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(END)


async def done(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(chunk(DONE) + END)


async def garble(
    engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(chunk(b"data: {rubbish\n\n") + chunk(delta("a", "stop")) + chunk(DONE) + END)


async def half(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(chunk(delta("a", content="never")[:30]))
    await writer.drain()
    writer.close()


async def fail(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    error = {"error": {"code": 500, "message": "decode failed", "type": "server_error"}}
    writer.write(chunk(b"data: " + json.dumps(error).encode() + b"\n\n") + END)
