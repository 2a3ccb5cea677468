"""Why workers are gone, as far as the hive has said it, and who asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from rbee.errors import RbeeError
from rbee.wire.control import Problem
from rbee.wire.problem import from_problem

SHARED_WITHIN_S = 1.0
"""Workers that die so close together die of one cause, and no request is to blame."""

_KEPT = 256


class Deaths:
    """The last known death of each worker."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._problems: dict[str, Problem] = {}
        self._at: dict[str, float] = {}
        self._news = asyncio.Event()

    def remember(self, worker: str, problem: Problem) -> None:
        self._problems[worker] = problem
        self._at[worker] = self._clock()
        for kept in (self._problems, self._at):
            if len(kept) > _KEPT:
                kept.pop(next(iter(kept)))
        self._news.set()

    def forget(self, worker: str) -> None:
        """A new life under the same id: what ended the last one explains nothing any more."""
        self._problems.pop(worker, None)

    def shared(self, worker: str, tried: Collection[str]) -> bool:
        """Whether a worker that is not among the `tried` died at the same moment as this one."""
        at = self._at.get(worker)
        return at is not None and any(
            abs(when - at) <= SHARED_WITHIN_S
            for other, when in self._at.items()
            if other != worker and other not in tried
        )

    async def cause(self, worker: str, within_s: float) -> RbeeError | None:
        """Why the hive says that a worker is gone, if it says so in time."""
        until = self._clock() + within_s
        while worker not in self._problems and self._clock() < until:
            self._news.clear()
            try:
                async with asyncio.timeout(max(0.0, until - self._clock())):
                    await self._news.wait()
            except TimeoutError:
                break
        problem = self._problems.get(worker)
        return from_problem(problem) if problem is not None else None
