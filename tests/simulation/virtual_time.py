"""An event loop whose time is a number: nothing is waited for, and what would hang is found."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any


class NothingWillHappen(AssertionError):
    """Somebody waits, and no event is planned: outside of a simulation that is a hang."""


class _Selector(selectors.BaseSelector):
    """No file is ever ready; asked to wait, it moves the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, fileobj, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise NothingWillHappen
        self.now += max(0.0, timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs whatever is planned at once, in the order of its times."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now

    async def reach(self, when: float) -> None:
        """Let everything happen that is planned until then."""
        reached = self.create_future()
        self.call_at(when, reached.set_result, None)
        await reached

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run to the end. Raises NothingWillHappen if it would wait for ever."""
        asyncio.set_event_loop(self)
        task = self.create_task(work)
        try:
            return self.run_until_complete(task)
        except NothingWillHappen:
            task.cancel()
            raise
