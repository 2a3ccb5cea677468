"""The order of one waiting line: fair between keys, three priorities, and nobody waits for ever.

Self-clocked fair queueing. Each place carries a *turn*: the turn of the last one served, or of the
last one in line of the same key and priority if that is later, plus what its priority costs. The
lowest turn is next, the older of two equal ones first. What follows from it:

- between keys of one priority it is round robin, however much each has in line;
- of one key, a `high` request goes before the `normal` ones and these before the `low` ones, but
  one `normal` is let through for each eight `high` ones and one `low` for each eight `normal` ones:
  an eighth is little to those who wait in front of a screen, and a batch job still moves;
- no starvation: a turn never changes, whoever comes gets a later turn than the clock's, and so the
  clock goes on by at least one for each `limit` that are served. The n-th of its key and priority
  is passed by at most `64 * n * limit` others, whatever comes.

A full line belongs to all keys too: who has fewer requests in it takes the last place of the key
that has most. A place's position is its rank in one sorted list: found by bisection, not by walking
the line.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar


class Priority(StrEnum):
    """`X-Rbee-Priority`."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    __hash__ = str.__hash__  # Enum's own is a Python function, and tables are looked up often


COST = {Priority.HIGH: 1, Priority.NORMAL: 8, Priority.LOW: 64}
"""How far one request moves its key's turn on."""

Flow = tuple[str, Priority]
Rank = tuple[int, int]
ItemT = TypeVar("ItemT")
_LOWEST_FIRST = (Priority.LOW, Priority.NORMAL, Priority.HIGH)


@dataclass(frozen=True, slots=True)
class Place(Generic[ItemT]):
    """Where one request stands; `turn` and `number` are its rank."""

    turn: int
    number: int
    flow: Flow | None
    item: ItemT


class FairQueue(Generic[ItemT]):
    """A waiting line. Every act takes the time of a bisection."""

    def __init__(self) -> None:
        self._order: list[Rank] = []
        self._places: dict[Rank, Place[ItemT]] = {}
        self._flows: dict[Flow, deque[Rank]] = {}
        self._counts: Counter[str] = Counter()
        self._by_count: dict[int, dict[str, None]] = {}
        self._most = 0
        self._clock = 0
        self._entered = 0

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Place[ItemT]]:
        """From the next to the last."""
        return (self._places[rank] for rank in self._order)

    def push(
        self, item: ItemT, *, key: str = "", priority: Priority = Priority.NORMAL
    ) -> Place[ItemT]:
        """Take a place."""
        flow = (key, priority)
        place = self._insert(self._next_turn(flow), flow, item)
        self._flows.setdefault(flow, deque()).append((place.turn, place.number))
        self._count(key, 1)
        return place

    def push_first(self, item: ItemT) -> Place[ItemT]:
        """Take a place before all who came by `push`: for who was served already, in vain."""
        return self._insert(self._clock - 1, None, item)

    def next_position(self, key: str, priority: Priority) -> int:
        """The position that `push` would give; 1 is next."""
        turn = self._next_turn((key, priority))
        return bisect_left(self._order, (turn, self._entered + 1)) + 1

    def displaced_by(self, key: str) -> Place[ItemT] | None:
        """Whose place a request of this key may take in a full line: the last one of the key that
        has most in it, if that key then still has as many as this one; None: nobody's."""
        if self._most < self._counts[key] + 2:
            return None
        longest = next(iter(self._by_count[self._most]))
        flow = next((longest, one) for one in _LOWEST_FIRST if (longest, one) in self._flows)
        return self._places[self._flows[flow][-1]]

    def position(self, place: Place[ItemT]) -> int:
        """1 is next; 0: not in line any more."""
        rank = (place.turn, place.number)
        return bisect_left(self._order, rank) + 1 if rank in self._places else 0

    def take(self, place: Place[ItemT]) -> None:
        """It is served: the clock goes on to its turn."""
        if self.remove(place):
            self._clock = max(self._clock, place.turn)
            if not self._order:
                self._clock = 0

    def remove(self, place: Place[ItemT]) -> bool:
        """It leaves the line unserved; False if it is not in it."""
        rank = (place.turn, place.number)
        if self._places.pop(rank, None) is None:
            return False
        del self._order[bisect_left(self._order, rank)]
        if place.flow is not None:
            self._leave(place.flow)
        return True

    def _next_turn(self, flow: Flow) -> int:
        own = self._flows.get(flow)
        begins = max(self._clock, own[-1][0]) if own else self._clock
        return begins + COST[flow[1]]

    def _insert(self, turn: int, flow: Flow | None, item: ItemT) -> Place[ItemT]:
        self._entered += 1
        place = Place(turn, self._entered, flow, item)
        rank = (turn, self._entered)
        insort(self._order, rank)
        self._places[rank] = place
        return place

    def _leave(self, flow: Flow) -> None:
        """One of this flow is gone: what left unserved is not counted against it."""
        own = self._flows[flow]
        while own and own[0] not in self._places:
            own.popleft()
        while own and own[-1] not in self._places:
            own.pop()
        if not own:
            del self._flows[flow]
        self._count(flow[0], -1)

    def _count(self, key: str, change: int) -> None:
        """Keep the keys by how many requests each has in line."""
        before = self._counts[key]
        after = before + change
        if before:
            self._by_count[before].pop(key)
            if not self._by_count[before]:
                del self._by_count[before]
        if after:
            self._counts[key] = after
            self._by_count.setdefault(after, {})[key] = None
        else:
            del self._counts[key]
        if after > self._most:
            self._most = after
        elif self._most not in self._by_count:
            self._most -= 1
