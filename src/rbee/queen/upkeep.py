"""What the queen looks at though nobody asks: workers to be tried again, whether a hive could dial
her, and how short memory is.

The hot path reads no file: memory is looked at in a thread, every few seconds.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from rbee.edge.memory import PROC, read_memory
from rbee.queen.core import Core

_LOOK_EVERY_S = 0.5


async def tend(core: Core, proc: Path = PROC) -> None:
    """Until cancelled."""
    memory_at = core.clock()
    while True:
        core.lanes.look()
        await core.link.stay_reachable()
        if core.clock() >= memory_at:
            memory_at = core.clock() + core.settings.timing.memory_look_s
            core.feel(await asyncio.to_thread(read_memory, proc))
        await asyncio.sleep(_LOOK_EVERY_S)
