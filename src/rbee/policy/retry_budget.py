"""How many requests may be tried again: a fifth of the traffic, never below a floor.

A sick machine makes every request fail. Without a budget each would be run three times, and the
load that made it sick would triple. What is in work may be tried again once a minute whatever the
traffic: a worker takes all of its answers with it when it dies, and they may have begun long ago.
"""

from __future__ import annotations

from collections import deque

SHARE = 0.2
WINDOW_S = 60.0
_SPAN_S = 0.5
"""Requests that began within so long a time are remembered as one number: ten thousand a second for
a minute would else be 20 MiB."""


class RetryBudget:
    """Requests and retries of the last minute. One owner; told the time."""

    def __init__(self, floor: int) -> None:
        self._floor = floor
        """Retries a minute that are there whatever the traffic."""
        self._spans: deque[tuple[float, int]] = deque()
        """When the requests of a span began, and how many they were; the newest is not among them.
        """
        self._newest_at = 0.0
        self._newest = 0
        self._requests = 0
        """Of all spans."""
        self._retries: deque[float] = deque()

    def requested(self, now: float) -> None:
        """A request has begun."""
        if now - self._newest_at >= _SPAN_S:
            if self._newest:
                self._spans.append((self._newest_at, self._newest))
            self._newest_at, self._newest = now, 0
            self._forget(now)
        self._newest += 1
        self._requests += 1

    def take(self, now: float, *, in_work: int = 0) -> bool:
        """Spend one retry; False: there is none left in this minute. `in_work`: requests now."""
        self._forget(now)
        limit = max(self._floor, SHARE * self._requests, in_work if self._floor else 0)
        if len(self._retries) + 1 > limit:
            return False
        self._retries.append(now)
        return True

    def _forget(self, now: float) -> None:
        if self._newest and self._newest_at <= now - WINDOW_S:
            self._requests -= self._newest
            self._newest = 0
        while self._spans and self._spans[0][0] <= now - WINDOW_S:
            self._requests -= self._spans.popleft()[1]
        while self._retries and self._retries[0] <= now - WINDOW_S:
            self._retries.popleft()
