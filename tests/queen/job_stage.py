"""What the tests of jobs share: an engine that speaks when it is told to, and clients."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

from rbee.settings import Bounds, Limits, Timing
from tests.queen.stage import DONE, END, HEAD, USAGE, Engine, chunk, event, progress, stage

FAST = Timing(silence_s=5, hold_status_s=0.2, comment_every_s=0.2, reattach_s=0.1, job_kept_s=30)
ASK = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
BEGIN = (
    HEAD
    + chunk(progress(0, 3))
    + chunk(event(role="assistant", content=None))
    + chunk(event(content="Hel"))
)
REST = chunk(event(content="lo")) + chunk(event("stop")) + chunk(USAGE) + chunk(DONE) + END


def with_engine(tmp_path, body, play, *, timing=FAST, limits=Limits(), bounds=Bounds()):
    """Run `body(stage, engine)` with one worker of two slots."""

    async def run():
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(Engine(play).running())
            here = await stack.enter_async_context(
                stage(tmp_path, timing=timing, limits=limits, bounds=bounds)
            )
            here.worker(engine)
            await body(here, engine)

    asyncio.run(run())


def gated(*parts):
    """An engine that says its first part at once, and each other one when the gate is opened."""
    gate = asyncio.Semaphore(0)

    async def play(engine, reader, writer, body):
        gone = asyncio.ensure_future(reader.read(1))
        for number, part in enumerate(parts):
            if number:
                opened = asyncio.ensure_future(gate.acquire())
                await asyncio.wait({opened, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    engine.hung_up.set()
                    opened.cancel()
                    raise ConnectionError
            writer.write(part)
            await writer.drain()
        gone.cancel()
        await asyncio.wait({gone})

    play.gate = gate
    return play


async def made(here, **more):
    answer = await here.client.post("/v1/jobs", json={"request": ASK, **more})
    assert answer.status_code == 202, answer.text
    return answer.json()


async def shown(here, job):
    return (await here.client.get(f"/v1/jobs/{job}")).json()


async def until(check):
    """Wait for what the loop will bring."""

    async def wait():
        while not (found := check()):
            await asyncio.sleep(0)
        return found

    return await asyncio.wait_for(wait(), 5)


async def until_status(here, job, status):
    async def wait():
        while (found := await shown(here, job))["status"] != status:
            await asyncio.sleep(0)
        return found

    return await asyncio.wait_for(wait(), 5)


async def followed(here, job, after=""):
    """All that an attached client gets: ids and chunks."""
    headers = {"last-event-id": after} if after else {}
    answer = await here.client.get(f"/v1/jobs/{job}/stream", headers=headers)
    assert answer.status_code == 200, answer.text
    ids, chunks = [], []
    for block in answer.text.split("\n\n"):
        for line in block.split("\n"):
            if line.startswith("id: "):
                ids.append(line[4:])
            elif line.startswith("data: {"):
                chunks.append(json.loads(line[6:]))
    assert answer.text.endswith("data: [DONE]\n\n")
    return ids, chunks


def text_of(chunks):
    choices = [choice for one in chunks for choice in one.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
