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
        self.splices: Counter[tuple[str, bool]] = Counter()
        """By mode, and whether exact."""
        self.lost: Counter[str] = Counter()
        """Answers that a fault of ours ended, by model."""
        self._recent: dict[str, deque[tuple[float, float, int]]] = {}

    def started(self, model: str) -> None:
        self.running[model] += 1

    def ended(self, model: str, code: str, took_s: float) -> None:
        self.running[model] -= 1
        self.requests[model, code] += 1
        self.seconds[model] += took_s

    def add_tokens(self, worker: str, count: int, now: float, *, took_s: float) -> None:
        """An answer ended that a worker wrote in so long a time."""
        self.tokens[worker] += count
        recent = self._recent.setdefault(worker, deque(maxlen=1024))
        recent.append((now - took_s, now, count))

    def tokens_per_s(self, worker: str, now: float) -> float:
        """While it wrote the answers that ended in the last minute; idle time counts nothing."""
        recent = self._recent.get(worker)
        while recent and recent[0][1] < now - _RATE_WINDOW_S:
            recent.popleft()
        tokens, busy_s, until = 0, 0.0, float("-inf")
        for began, ended, count in sorted(recent or ()):
            tokens += count
            busy_s += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return round(tokens / busy_s, 1) if busy_s else 0.0

    def event(self, code: str) -> None:
        self.events[code] += 1
