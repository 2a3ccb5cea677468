"""The queen's calls: each runs as a task of its own and is answered once, by its id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.wire.control import Done, Failed, FromHive
from rbee.wire.problem import to_problem


class Calls:
    """The calls that run now."""

    def __init__(self, say: Callable[[FromHive], None], log: Log) -> None:
        self._say = say
        self._log = log
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, call: str, work: Coroutine[Any, Any, object]) -> None:
        """Run it; its result is said as `Done`, its error as `Failed`."""
        task = asyncio.create_task(self._run(call, work))
        self._running[call] = task
        task.add_done_callback(lambda _: self._running.pop(call, None))

    def cancel(self, call: str) -> None:
        """Nobody waits for it any more."""
        task = self._running.get(call)
        if task is not None:
            task.cancel()

    async def cancel_all(self) -> None:
        """The hive ends."""
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, call: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            self._say(Done(call, await work))
        except RbeeError as error:
            self._say(Failed(call, to_problem(error.report)))
        except asyncio.CancelledError:
            self._say(Failed(call, to_problem(RbeeError("CANCELLED").report)))
            raise
        except Exception as error:
            mistake = RbeeError("INTERNAL", problem=repr(error))
            self._say(Failed(call, to_problem(mistake.report)))
            self._log.error("a call failed", call=call, problem=repr(error))
