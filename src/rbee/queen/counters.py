"""Plain integers on the hot path; Prometheus text is made from them when it is asked for.

(prometheus_client objects cost 6.4 µs an update, these 0.8: docs/measured.md.)
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque

_RATE_WINDOW_S = 60.0


class Counters:
    """What is counted: requests, ends by code, seconds, tokens, events."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.tokens: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """At the door, by code: keys, rates, and what is no request."""
        self._recent: dict[str, deque[tuple[float, int]]] = {}

    def started(self, model: str) -> None:
        self.running[model] += 1

    def ended(self, model: str, code: str, took_s: float) -> None:
        self.running[model] -= 1
        self.requests[model, code] += 1
        self.seconds[model] += took_s

    def add_tokens(self, worker: str, count: int, now: float) -> None:
        self.tokens[worker] += count
        recent = self._recent.setdefault(worker, deque(maxlen=1024))
        recent.append((now, count))

    def tokens_per_s(self, worker: str, now: float) -> float:
        """Of answers that ended in the last minute."""
        recent = self._recent.get(worker)
        while recent and recent[0][0] < now - _RATE_WINDOW_S:
            recent.popleft()
        return round(sum(count for _, count in recent or ()) / _RATE_WINDOW_S, 1)

    def event(self, code: str) -> None:
        self.events[code] += 1
