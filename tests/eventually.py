"""Waiting for a condition, with a limit: the only place of the tests that sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LIMIT_S = 10.0
_EVERY_S = 0.005


def eventually(check: Callable[[], Found | None], within_s: float = LIMIT_S) -> Found:
    """The first true answer of `check`; fails after `within_s`, telling the last one."""
    deadline = time.monotonic() + within_s
    while not (found := check()):
        assert time.monotonic() < deadline, f"{found!r} after {within_s} s"
        time.sleep(_EVERY_S)
    return found


async def soon(check: Callable[[], Found | None], within_s: float = LIMIT_S) -> Found:
    """The same while the loop goes on."""
    deadline = time.monotonic() + within_s
    while not (found := check()):
        assert time.monotonic() < deadline, f"{found!r} after {within_s} s"
        await asyncio.sleep(_EVERY_S)
    return found
