"""Waiting for the world: the one place of the harness that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 0.05


def eventually(check: Callable[[], T], within_s: float) -> T:
    """The first true answer of `check`; after `within_s` it fails, with the last answer.

    An AssertionError of `check` counts as not yet.
    """
    until = time.monotonic() + within_s
    while True:
        try:
            last: object = check()
            if last:
                return last  # type: ignore[return-value]
        except AssertionError as error:
            last = error
        if time.monotonic() > until:
            raise AssertionError(f"not within {within_s} s; last state: {last}")
        time.sleep(LOOK_EVERY_S)
