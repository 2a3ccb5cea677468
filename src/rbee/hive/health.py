"""Whether an idle worker still answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rbee.settings import Timing


async def until_deaf(
    port: Callable[[], int], probe: Callable[[int, float], Awaitable[bool]], timing: Timing
) -> float:
    """Returns once two probes in a row were not answered, with the time that it was silent.

    The second one waits longer: on an overloaded machine an answer may take its second.
    """
    while True:
        await asyncio.sleep(timing.health_every_s)
        if await probe(port(), timing.probe_s) or await probe(port(), timing.silence_s):
            continue
        return timing.probe_s + timing.silence_s
