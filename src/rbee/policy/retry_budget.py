"""How many requests may be tried again: a fifth of the traffic, never below a floor.

A sick machine makes every request fail. Without a budget each would be run three times, and the
load that made it sick would triple. What is in work may be tried again once a minute whatever the
traffic: a worker takes all of its answers with it when it dies, and they may have begun long ago.
"""

from __future__ import annotations

from collections import deque

SHARE = 0.2
WINDOW_S = 60.0


class RetryBudget:
    """Requests and retries of the last minute. One owner; told the time."""

    def __init__(self, floor: int) -> None:
        self._floor = floor
        """Retries a minute that are there whatever the traffic."""
        self._requests: deque[float] = deque()
        self._retries: deque[float] = deque()

    def requested(self, now: float) -> None:
        """A request has begun."""
        self._requests.append(now)
        self._forget(now)

    def take(self, now: float, *, in_work: int = 0) -> bool:
        """Spend one retry; False: there is none left in this minute. `in_work`: requests now."""
        self._forget(now)
        limit = max(self._floor, SHARE * len(self._requests), in_work if self._floor else 0)
        if len(self._retries) + 1 > limit:
            return False
        self._retries.append(now)
        return True

    def _forget(self, now: float) -> None:
        for times in (self._requests, self._retries):
            while times and times[0] <= now - WINDOW_S:
                times.popleft()
