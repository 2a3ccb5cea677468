"""What a hive does every second: idle models unload, memory is looked at, the dead are buried."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import structs

from rbee.edge import strays
from rbee.edge.log_file import turn_over
from rbee.errors import RbeeError
from rbee.policy.worker_life import State
from rbee.wire.control import Device

if TYPE_CHECKING:
    from rbee.hive.service import Hive

TICK_S = 1.0
_MEASURE_TICKS = 2
"""Memory of workers is looked at every second tick (nothing is polled faster than every 2 s)."""
_RESOURCE_TICKS = 3
_QUIET_AFTER_TICKS = 5


class Upkeep:
    """Looks after what nobody tells it of."""

    def __init__(self, hive: Hive) -> None:
        self._hive = hive
        self._ticks = 0
        self._asking: asyncio.Task[None] | None = None
        self._dead: set[int] = set()
        self._told: tuple[Device, ...] = ()

    def tick(self) -> None:
        """Called every `TICK_S`."""
        hive = self._hive
        self._ticks += 1
        with suppress(RbeeError):
            # What is wrong with the file, the queen tells.
            hive.config.look()
        hive.roster.tick()
        hive.roster.settle()
        hive.store.look()
        hive.comeback.tick()
        self._tell_devices()
        if self._ticks % _MEASURE_TICKS == 0:
            self._measure()
        if self._ticks % _RESOURCE_TICKS == 0:
            hive.resources.look()
            hive.comeback.look_at_cards()
            turn_over(hive.log_file, hive.settings.bounds.log_bytes)
        self._bury()
        self._look_at_engine(quiet=self._ticks >= _QUIET_AFTER_TICKS)

    def _tell_devices(self) -> None:
        """What became of them since the queen heard of them last."""
        now = tuple(structs.replace(one, rests_until=0.0) for one in self._hive.devices.views())
        if now != self._told:
            self._told = now
            self._hive.engine_changed()

    def _measure(self) -> None:
        hive = self._hive
        for owner in hive.roster.owners():
            if owner.run is not None and owner.run.child.ended is None:
                owner.run.measure()
                owner.run.folder.bound_log(hive.settings.bounds.worker_log_bytes)
                hive.changed(owner)

    def _bury(self) -> None:
        """Orphans that were given to us and have ended. Our own children are waited for by whoever
        started them, at once: what is still dead a second later is nobody's."""
        dead = strays.dead_children()
        strays.bury(dead & self._dead)
        self._dead = dead

    def _look_at_engine(self, *, quiet: bool) -> None:
        """Learn what the engine is once no load needs the cores, and see another being chosen."""
        hive = self._hive
        if hive.engine.look():
            hive.engine_changed()
        loading = any(
            owner.state in (State.STARTING, State.LOADING) for owner in hive.roster.owners()
        )
        asked = self._asking is not None and not self._asking.done()
        if quiet and not loading and not asked and not hive.engine.known:
            self._asking = asyncio.create_task(hive.engine.ask())
