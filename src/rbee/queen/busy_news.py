"""What the hive is told of work on its workers.

That one is at work it hears at once, lest it unloads it; that it is idle a moment later. Between
short requests it is told neither: else each of them would cost two messages, and the hive as much
as the queen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rbee.queen.roster import SERVING, Roster
from rbee.wire import control

IDLE_TOLD_AFTER_S = 0.05


class BusyNews:
    """Told of every change by the lanes, tells what matters."""

    def __init__(self, roster: Roster, tell: Callable[[control.Busy], None]) -> None:
        self._roster = roster
        self._tell = tell
        self._told: set[str] = set()
        """Workers that the hive takes to be at work."""
        self._soon: set[str] = set()
        """Workers that are looked at again in a moment."""

    def changed(self, id_: str, count: int) -> None:
        """A worker has begun its first answer, or ended its last. No hive knows attached ones."""
        worker = self._roster.workers.get(id_)
        if worker is not None and worker.attached:
            return
        if count and id_ not in self._told:
            self._told.add(id_)
            self._tell(control.Busy(id_, count))
        elif not count and id_ not in self._soon:
            self._soon.add(id_)
            asyncio.get_running_loop().call_later(IDLE_TOLD_AFTER_S, self._look, id_)

    def tell_all(self) -> None:
        """A hive that was just met counts from nothing."""
        self._told.clear()
        for id_, count in self._roster.busy.items():
            if count:
                self.changed(id_, count)

    def worker_changed(self, id_: str, state: str) -> None:
        """One that does not serve counts from nothing when it serves again; one that is to go is
        idle from now on, if it is."""
        if state not in SERVING and not self._roster.busy.get(id_):
            self._told.discard(id_)
            if state == "DRAINING":
                self._tell(control.Busy(id_, 0))

    def _look(self, id_: str) -> None:
        self._soon.discard(id_)
        if id_ in self._told and not self._roster.busy.get(id_):
            self._told.discard(id_)
            self._tell(control.Busy(id_, 0))
