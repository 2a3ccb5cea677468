"""When a request must be finished. Set once, never extended, told to a hop as time left."""

from __future__ import annotations

from dataclasses import dataclass

HEADER = "x-request-timeout"
"""Seconds left, as the next rbee reads it."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of one monotonic clock, and the time that was allowed."""

    at: float
    allowed_s: float

    @classmethod
    def after(cls, allowed_s: float, now: float) -> Deadline | None:
        """None: no time was set."""
        return cls(now + allowed_s, allowed_s) if allowed_s > 0 else None

    def passed(self, now: float) -> bool:
        return now >= self.at

    def left_s(self, now: float) -> float:
        """Rounded down to milliseconds, so that no hop is given more than there is."""
        return max(0, int((self.at - now) * 1000)) / 1000
