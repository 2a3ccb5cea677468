"""One coarse sweep for all that wait: no task, future or timer for each of them.

Whoever awaits something that may never come does so under a `Guard`. Four times a second each guard
is looked at; what its look gives is raised where the guard stands, and what is awaited there is
cancelled, as `asyncio.timeout` does it with the clock for a judge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from rbee.errors import RbeeError

LOOK_EVERY_S = 0.25
_SLICES = 5
"""A fifth of the guards at a time: a thousand looks at once would be felt by every stream."""

Look = Callable[[float], RbeeError | None]
"""Takes the time; gives what ends the wait, or None. Does not wait."""


class Guard:
    """A wait that may be ended from outside; entered once, by the task that waits."""

    __slots__ = ("_before", "_error", "_look", "_slice", "_task")

    def __init__(self, slice_: dict[Guard, None], look: Look) -> None:
        self._slice = slice_
        self._look = look
        self._error: RbeeError | None = None

    def __enter__(self) -> Guard:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self._slice[self] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
    ) -> None:
        self._slice.pop(self, None)
        # Who looks knows this guard: a circle for each request would keep the collector busy.
        self._look = _blind
        if self._error is None or self._task.uncancel() > self._before:
            return
        if kind is asyncio.CancelledError:
            raise self._error from exc

    def end(self, error: RbeeError) -> None:
        """Raise this where the guard stands. Once it was left or has ended, nothing happens."""
        if self._error is None and self in self._slice:
            self._error = error
            self._task.cancel()

    def look(self, now: float) -> None:
        error = self._look(now)
        if error is not None:
            self.end(error)


def _blind(now: float) -> None:
    """The look of a guard that was left."""


class Lookout:
    """All guards of one loop; its timer runs only while there are any."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slices: list[dict[Guard, None]] = [{} for _ in range(_SLICES)]
        self._made = 0
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    def guard(self, look: Look) -> Guard:
        """To be entered at once: `with lookout.guard(look): await …`."""
        self._made += 1
        if self._timer is None:
            self._arm()
        return Guard(self._slices[self._made % _SLICES], look)

    def _arm(self) -> None:
        self._timer = self._loop.call_later(LOOK_EVERY_S / _SLICES, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        self._turn = (self._turn + 1) % _SLICES
        now = self._loop.time()
        try:
            for guard in list(self._slices[self._turn]):
                guard.look(now)
        finally:
            if any(self._slices):
                self._arm()
