"""When the command line dials a distant rbee again: 1, 2, 4, 8, 16 s with jitter, five times.

An rbee on this machine is started instead. Only what was not accepted is sent again.
"""

from __future__ import annotations

TRIES = 5


def delay_s(attempt: int, roll: float, first_s: float = 1.0) -> float | None:
    """The pause before try `attempt` (1 is the first repetition); None: give up.

    `roll` in [0, 1) spreads many callers over 0.5 to 1.5 times the pause.
    """
    if attempt > TRIES:
        return None
    return float(first_s * 2 ** (attempt - 1) * (0.5 + roll))
