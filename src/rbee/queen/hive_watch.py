"""A hive that is there and does not move: a frozen one is ended, and another takes its place."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from rbee.queen.hive_link import HiveLink
from rbee.wire import control

_ASKS = 3
"""Pings within the limit: one answer is enough."""


async def keep_moving(link: HiveLink, pid: Callable[[], int], silence_s: float) -> None:
    """Until cancelled: one that answers no ping for `silence_s` gets SIGKILL. Its workers do not
    miss it, and are taken back."""
    loop = asyncio.get_running_loop()
    while True:
        link.tell(control.Ping())
        await asyncio.sleep(silence_s / _ASKS)
        found = pid()
        if link.connected and found and loop.time() - link.heard_at > silence_s:
            with suppress(ProcessLookupError):
                os.kill(found, signal.SIGKILL)
            link.heard_at = loop.time()
