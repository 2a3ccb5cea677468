"""What the queen looks at though nobody asks: workers to be tried again, lines that nobody will
serve, whether a hive could dial her, how short memory is, and how long her log has become.

The hot path reads no file: memory and log are looked at in a thread, every few seconds.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from rbee.edge.cgroups import PROC
from rbee.edge.home import Home
from rbee.edge.log_file import turn_over
from rbee.edge.memory import read_memory
from rbee.errors import RbeeError
from rbee.queen.core import Core

_LOOK_EVERY_S = 0.5


async def tend(core: Core, proc: Path = PROC) -> None:
    """Until cancelled."""
    memory_at = core.clock()
    log = Home(Path(core.settings.home)).logs / "queen.log"
    while True:
        core.lanes.look()
        look_at_lines(core)
        await core.link.stay_reachable()
        if core.clock() >= memory_at:
            memory_at = core.clock() + core.settings.timing.memory_look_s
            core.feel(await asyncio.to_thread(read_memory, proc))
            await asyncio.to_thread(turn_over, log, core.settings.bounds.log_bytes)
        await asyncio.sleep(_LOOK_EVERY_S)


def look_at_lines(core: Core) -> None:
    """Nobody waits for a model that no hive can load any more."""
    for lane in core.lanes.with_waiting():
        try:
            core.check_hive(lane)
        except RbeeError as error:
            core.lanes.turn_away(lane, error)
