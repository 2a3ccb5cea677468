"""Which worker gets the next attempt: the least loaded that was not tried in vain, unless another
has most of the prompt in its cache.

Load is the share of a worker's slots in use; attempts that failed a moment ago still count, as long
as an answer would have taken: a worker that fails in 5 ms is no more attractive than one that
works. A warm cache outweighs load in the measure in which it saves reading: a worker that has read
80 % of the prompt is taken before one that is up to 80 % of its slots emptier. It is never waited
for: a worker without a free slot is none.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping

import msgspec


class Candidate(msgspec.Struct, frozen=True):
    """A serving worker as routing sees it."""

    id: str
    slots: int
    busy: int
    degraded: bool = False
    room: int | None = None
    """How many answers it may have at once, if not as many as it has slots: 0 while its breaker is
    open, few while it begins again."""
    failed: int = 0
    """Attempts that failed on it a moment ago."""
    used: int = 0
    """The number of the last attempt that it got: who had none for longest is first of equals."""

    @property
    def limit(self) -> int:
        return self.slots if self.room is None else self.room

    @property
    def free(self) -> int:
        return max(0, self.limit - self.busy)

    @property
    def load(self) -> float:
        return (self.busy + self.failed) / self.slots


Rank = tuple[bool, float, int, str]


def _rank(one: Candidate) -> Rank:
    return (one.degraded, (one.busy + one.failed) / one.slots, one.used, one.id)


_Seat = tuple[Candidate, int, int, Rank | None]
"""With its limit, its free slots, and its rank if it has any: computed once, when it is put."""


class Board:
    """The serving workers of one model, kept in the order in which they are taken.

    A change and a choice take the time of a bisection, however many workers there are.
    """

    def __init__(self, candidates: Iterable[Candidate] = ()) -> None:
        self._known: dict[str, _Seat] = {}
        self._order: list[Rank] = []
        self._usable = 0
        self.slots = 0
        """Of all that serve."""
        self.room = 0
        """Answers that they may have at once, all together."""
        self.free = 0
        """Slots that may be given now."""
        for candidate in candidates:
            self.put(candidate)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, worker: str) -> bool:
        return worker in self._known

    @property
    def usable(self) -> int:
        """Workers that may get an answer now or once another one ends."""
        return self._usable

    def get(self, worker: str) -> Candidate | None:
        seat = self._known.get(worker)
        return None if seat is None else seat[0]

    def put(self, candidate: Candidate) -> None:
        """It serves, as these facts say; what was known of it before is forgotten."""
        self.drop(candidate.id)
        limit = candidate.limit
        free = max(0, limit - candidate.busy)
        rank = _rank(candidate) if free else None
        self._known[candidate.id] = (candidate, limit, free, rank)
        self.slots += candidate.slots
        self.room += limit
        self._usable += limit > 0
        if rank is not None:
            self.free += free
            insort(self._order, rank)

    def recount(self, worker: str, *, busy: int, used: int) -> None:
        """A worker that serves has so many answers now, and got its last one as this number."""
        seat = self._known.get(worker)
        if seat is None:
            return
        one, limit, free_before, rank = seat
        if rank is not None:
            del self._order[bisect_left(self._order, rank)]
        one = Candidate(one.id, one.slots, busy, one.degraded, one.room, one.failed, used)
        free = limit - busy if busy < limit else 0
        rank = _rank(one) if free else None
        if rank is not None:
            insort(self._order, rank)
        self.free += free - free_before
        self._known[worker] = (one, limit, free, rank)

    def drop(self, worker: str) -> None:
        """It does not serve any more."""
        seat = self._known.pop(worker, None)
        if seat is None:
            return
        candidate, limit, free, rank = seat
        self.slots -= candidate.slots
        self.room -= limit
        self._usable -= limit > 0
        if rank is not None:
            self.free -= free
            del self._order[bisect_left(self._order, rank)]

    def choose(
        self, *, tried: Collection[str] = (), saved: Mapping[str, float] | None = None
    ) -> str | None:
        """The worker to use, or None if none has a slot for this one now.

        `saved` is the share of the prompt that workers have in their cache. A worker that was tried
        in vain is taken only if no other one serves.
        """
        if not self._order:
            return None
        if tried and self._all_tried(tried):
            tried = ()
        best = next((one for one in self._order if one[3] not in tried), None)
        if best is None or not saved:
            return None if best is None else best[3]
        chosen, score = best[3], best[1] - saved.get(best[3], 0.0)
        for worker, share in saved.items():
            one = self.get(worker)
            if one is None or not one.free or worker in tried or one.degraded != best[0]:
                continue
            if one.load - share < score:
                chosen, score = worker, one.load - share
        return chosen

    def _all_tried(self, tried: Collection[str]) -> bool:
        """Whether nobody who may get an answer is left untried."""
        left = self._usable
        for worker in set(tried):
            one = self.get(worker)
            left -= one is not None and one.limit > 0
        return left <= 0
