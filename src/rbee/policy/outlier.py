"""A worker that is slower than its peers gets less, then nothing, then another chance.

    FAIR      all of its slots
    LESS      a quarter of them, at least one
    NOTHING   none, until its time is over; then it begins again at LESS

What is compared is the median of a worker's last answers, for the time to the first token and for
the gap between tokens, with the median of its peers. Peers serve the same model; with fewer than
three measured ones nobody is judged, and while a third of a model's workers is held back nobody
else is: the last ones always serve.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from types import MappingProxyType

TIMES_SLOWER = 3.0
PEERS_MIN = 3
ANSWERS_MIN = 4
"""Answers of a worker before its median says anything."""
_ANSWERS_KEPT = 16
LESS_SHARE = 0.25
HELD_BACK_SHARE = 1 / 3


class Standing(StrEnum):
    FAIR = "fair"
    LESS = "less"
    NOTHING = "nothing"

    __hash__ = str.__hash__  # Enum's own is a Python function, and tables are looked up often


class Event(StrEnum):
    SLOW = "SLOW"
    """Judged, and more than three times slower than its peers."""
    FAIR = "FAIR"
    """Judged, and not."""
    WAITED = "WAITED"
    """Its time without work is over."""


TABLE: Mapping[tuple[Standing, Event], Standing] = MappingProxyType(
    {
        (Standing.FAIR, Event.FAIR): Standing.FAIR,
        (Standing.FAIR, Event.SLOW): Standing.LESS,
        (Standing.LESS, Event.FAIR): Standing.FAIR,
        (Standing.LESS, Event.SLOW): Standing.NOTHING,
        (Standing.NOTHING, Event.FAIR): Standing.NOTHING,
        (Standing.NOTHING, Event.SLOW): Standing.NOTHING,
        (Standing.NOTHING, Event.WAITED): Standing.LESS,
    }
)
SHARE = {Standing.FAIR: 1.0, Standing.LESS: LESS_SHARE, Standing.NOTHING: 0.0}


class Times:
    """What was measured of one worker since it was judged last."""

    def __init__(self) -> None:
        self.first_token_s: deque[float] = deque(maxlen=_ANSWERS_KEPT)
        self.gap_s: deque[float] = deque(maxlen=_ANSWERS_KEPT)

    def add(self, first_token_s: float | None, gap_s: float | None) -> None:
        if first_token_s is not None:
            self.first_token_s.append(first_token_s)
        if gap_s is not None:
            self.gap_s.append(gap_s)

    def clear(self) -> None:
        self.first_token_s.clear()
        self.gap_s.clear()


@dataclass(frozen=True, slots=True)
class Slow:
    """Why a worker is held back."""

    worker: str
    what: str
    """`first token` or `gap`."""
    own_s: float
    peers_s: float


def find(times: Mapping[str, Times]) -> dict[str, Slow | None]:
    """The judgement on every worker of a model that is measured well enough; None: fair."""
    found: dict[str, Slow | None] = {}
    for what in ("first token", "gap"):
        medians = {
            worker: median(values)
            for worker, one in times.items()
            if len(values := _values(one, what)) >= ANSWERS_MIN
        }
        if len(medians) <= PEERS_MIN:
            continue
        everybody = sorted(medians.values())
        for worker, own_s in medians.items():
            peers_s = _median_without(everybody, own_s)
            slow = own_s > TIMES_SLOWER * peers_s > 0
            verdict = Slow(worker, what, own_s, peers_s) if slow else None
            found[worker] = found.get(worker) or verdict
    return found


def may_hold_back(held_back: int, workers: int) -> bool:
    """Whether one more of a model's workers may get less than its share."""
    return held_back + 1 <= workers * HELD_BACK_SHARE


def _values(times: Times, what: str) -> Sequence[float]:
    return times.first_token_s if what == "first token" else times.gap_s


def _median_without(ordered: Sequence[float], own: float) -> float:
    """The median of the others, from the sorted list of all."""
    others = len(ordered) - 1
    at = ordered.index(own)
    middle = [one if one < at else one + 1 for one in ((others - 1) // 2, others // 2)]
    return (ordered[middle[0]] + ordered[middle[1]]) / 2
