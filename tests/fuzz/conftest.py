"""A queen on a loop that the fuzz runs step by step, with an engine that says what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec import structs

from rbee.errors import RbeeError
from rbee.settings import Bounds, Limits, Timing
from rbee.wire.problem import to_problem
from tests.queen.stage import Engine, Play, Stage, say, stage

Result = TypeVar("Result")
WORKERS = ("w1", "e1")
"""One for chats, one for embeddings."""

IMPATIENT = Timing(silence_s=0.5, probe_s=0.2, hold_status_s=0.2)
ONCE = Bounds(retries_per_minute=0)


@dataclass
class Fuzzed:
    """The queen, her engine, and what went wrong where nobody was told."""

    loop: asyncio.AbstractEventLoop
    stage: Stage
    engine: Engine
    faults: list[str] = field(default_factory=list)

    def run(self, story: Awaitable[Result]) -> Result:
        """Step the loop until this is done; a hang is a failure."""
        return self.loop.run_until_complete(asyncio.wait_for(story, 20))

    def plays(self, *parts: bytes, then_close: bool = False) -> None:
        """What the engine answers from now on, in a new life: earlier faults do not count."""
        self.engine.play = say(*parts, then_close=then_close)
        core = self.stage.core
        for id_ in WORKERS:
            view = core.roster.workers[id_]
            view = structs.replace(view, pid=view.pid + 1)
            core.health.learn(view)
            core.roster.put(view)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    loop = asyncio.new_event_loop()
    exits = AsyncExitStack()
    found = loop.run_until_complete(_start(tmp_path_factory.mktemp("queen"), exits, loop))
    loop.set_exception_handler(lambda _, context: found.faults.append(str(context)))
    yield found
    loop.run_until_complete(exits.aclose())
    loop.close()


async def _start(folder: Path, exits: AsyncExitStack, loop: asyncio.AbstractEventLoop) -> Fuzzed:
    engine = await exits.enter_async_context(Engine(_silent).running())
    limits = Limits(queue_wait_s=2.0, stall_s=2.0)
    here = await exits.enter_async_context(
        stage(folder, timing=IMPATIENT, limits=limits, bounds=ONCE)
    )
    here.worker(engine, slots=64)
    view = here.core.roster.workers["w1"]
    here.core.roster.put(structs.replace(view, id="e1", mode="embedding"))
    # Nobody waits for the hive's word on why an answer broke off: it is said already.
    lost = RbeeError("WORKER_LOST", model="tiny", tokens=0, problem="it broke off", worker="w1")
    for id_ in WORKERS:
        here.core.deaths.remember(id_, to_problem(lost.report))
    found = Fuzzed(loop, here, engine)
    # A mistake of ours is answered with INTERNAL, and told here.
    here.core.note = lambda event, **facts: found.faults.append(f"{event} {facts}")
    return found


_silent: Play = say(b"")
