"""The queen stays as large as she is: what an open answer costs, and that one that ended costs
nothing. Counted is what the product's own lines hold (`tracemalloc`), not the test's engine or
client. The large numbers are measured by `python -m bench.wire.soak`."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path

from tests.eventually import soon
from tests.http_talk import Talk
from tests.queen.stage import HEAD, MODEL, WHOLE, Engine, Stage, chunk, event, hold, say, stage

STREAMS = 100
_OURS = tracemalloc.Filter(True, "*/rbee/*")


def held_bytes() -> int:
    gc.collect()
    found = tracemalloc.take_snapshot().filter_traces([_OURS])
    return sum(one.size for one in found.statistics("filename"))


def ask(port: int) -> bytes:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def with_engine(tmp_path, body, play, *, counted=True) -> None:
    """Run `body(stage, engine)`, and have its allocations counted."""

    async def run():
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(Engine(play).running())
            here = await stack.enter_async_context(stage(tmp_path))
            here.worker(engine, slots=STREAMS)
            await body(here, engine)

    if counted:
        tracemalloc.start()
    try:
        asyncio.run(run())
    finally:
        tracemalloc.stop()


def port_of(here: Stage) -> int:
    port = here.client.base_url.port
    assert port is not None
    return port


def test_an_open_stream_costs_little(tmp_path: Path) -> None:
    """A hundred streams that run at the same time hold less than 32 KiB each."""

    async def body(here: Stage, engine: Engine) -> None:
        port = port_of(here)
        first = await Talk.dial(port)
        await first.send(ask(port))
        await soon(lambda: len(engine.asked) == 1)
        before = held_bytes()
        talks = [await Talk.dial(port) for _ in range(STREAMS - 1)]
        for talk in talks:
            await talk.send(ask(port))
        await soon(lambda: len(engine.asked) == STREAMS)

        each = (held_bytes() - before) / len(talks)

        assert each < 32 << 10
        for talk in (first, *talks):
            talk.sock.close()
        await soon(lambda: here.router.running == 0)

    first_words = [HEAD, *(chunk(event(content=f"word {number}")) for number in range(20))]
    with_engine(tmp_path, body, hold(*first_words))


def test_answers_that_ended_leave_nothing(tmp_path: Path) -> None:
    """Once what is remembered of the last thousand answers is full, hundreds more leave nothing:
    less than an object for every fifth."""

    async def body(here: Stage, engine: Engine) -> None:
        port = port_of(here)
        talk = await Talk.dial(port)

        async def some(count: int) -> int:
            for _ in range(count):
                await talk.send(ask(port))
                assert (await talk.receive_until(b"0\r\n\r\n")).count(b"data: ") == 5
            engine.asked.clear()
            gc.collect()
            return sys.getallocatedblocks()

        before = await some(1100)

        assert await some(300) - before < 60

    with_engine(tmp_path, body, say(WHOLE), counted=False)
