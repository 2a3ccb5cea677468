"""Promises about an idle worker that does not answer."""

from __future__ import annotations

import asyncio

from rbee.hive.health import until_deaf
from rbee.settings import Timing

TIMING = Timing(health_every_s=0.01, probe_s=1.0, silence_s=4.0)


def _asked(answers: list[bool]) -> list[float]:
    """How long each probe waited, until it is called deaf."""
    waited: list[float] = []

    async def probe(port: int, within_s: float) -> bool:
        assert port == 7
        waited.append(within_s)
        return answers.pop(0)

    assert asyncio.run(until_deaf(lambda: 7, probe, TIMING)) == 5.0
    return waited


def test_two_in_a_row_are_deaf_and_the_second_waits_longer() -> None:
    """One that is slow once is not ended for it."""
    assert _asked([False, False]) == [1.0, 4.0]
    assert _asked([False, True, True, False, False]) == [1.0, 4.0, 1.0, 1.0, 4.0]
