"""Run now, queue at a place, or refuse: the decision at the door of one model.

Slots are the engine's; the queue is ours, because an engine queues without bound and says nothing
(docs/measured.md, Slots). Refusals carry a time that was measured, not guessed, and that is kept:
who was told to come back in 12 s has a place in line then. That is what `Promises` are for; a
request is known again by what it asks (a hash), so nobody needs a ticket.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil, sqrt

import msgspec

from rbee.policy.affinity import UNKNOWN, Conversation
from rbee.policy.fair_queue import Priority

ASSUMED_SERVICE_S = 5.0
"""How long an answer is taken to be until one was measured: too long costs a client a pause, too
short a second refusal."""
_WEIGHT = 0.1
"""Of the newest measurement in a running mean."""
_LONE_ANSWERS_WORTH = 4
"""Measured ends of a full line that all lone answers together are worth at most."""
_SPREAD = 1.3
"""Standard deviations that hold nine cases of ten."""
_BROKEN, _KEPT = 1.5, 0.98
"""How the care of promises changes; 1.5 * 0.98 ** 20 is 1."""
_CARE_MIN, _CARE_MAX = 0.8, 8.0
_AT_ONCE_S = 1.0
"""Equal requests within this time are several clients; later ones are one that comes again."""
_HELD_MIN_S, _HELD_SHARE = 5.0, 0.25
"""How long after its time a place is held, and as a share of the time that was told."""


Mark = tuple[str, int]
"""A key's id, and a hash of what is asked."""


class Claim(msgspec.Struct, frozen=True):
    """What a request brings to the door: whose it is, how urgent, until when, and what it asks."""

    key_id: str = ""
    """The API key's id; all requests without one are one key's."""
    priority: Priority = Priority.NORMAL
    conversation: Conversation = UNKNOWN
    deadline_at: float | None = None
    deadline_s: float = 0.0
    """The whole time that the client allowed."""
    brief: bool = False
    """It makes no tokens: how long it takes says nothing of answers."""

    @property
    def mark(self) -> Mark:
        """What the same request is known again by."""
        return (self.key_id, self.conversation.mark)


@dataclass(frozen=True, slots=True)
class Run:
    """A slot is free and nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Wait at this place; 1 is next."""

    position: int


@dataclass(frozen=True, slots=True)
class Full:
    """The queue has no place."""


@dataclass(frozen=True, slots=True)
class TooLate:
    """The request would not begin before its deadline; about `expected_s` would pass."""

    expected_s: float


Decision = Run | Queue | Full | TooLate


class Door(msgspec.Struct, frozen=True):
    """What the decision looks at."""

    free_slots: int
    ready_slots: int
    """Slots of workers that can serve now; 0 while all are loading."""
    loading_slots: int
    """Slots that will be there once loading is done."""
    waiting: int
    limit: int
    position: int
    """The place that this request would get: behind whom its key and priority put it."""
    held: int = 0
    """Places that are held for those who were told to come back."""
    promised: bool = False
    """One of those is for this request, now."""
    turn_s: float | None = None
    """Measured time from one start to the next while somebody waits; None: not measured, or nothing
    is ready."""
    left_s: float | None = None
    """Until the request's deadline; None: it has none."""


def decide(door: Door) -> Decision:
    """The door's answer to one more request.

    While nothing is ready, as many as will have a slot may wait beyond the limit: with a queue of
    0 a model could otherwise never be loaded on demand. A promise holds a place, never a slot: an
    idle slot is given to whoever comes. A line that moves more slowly than it was measured has no
    place yet when one was promised: then it grows, by as many as may be promised and no more.
    """
    if door.free_slots > 0 and door.waiting == 0:
        return Run()
    limit = door.limit + (promised_places(door.limit) if door.promised else 0)
    if door.ready_slots == 0:
        limit = max(limit, door.loading_slots, 1)
    taken = door.waiting if door.promised else door.waiting + door.held
    if taken >= limit and door.waiting >= door.free_slots:
        return Full()
    turn_s, left_s = door.turn_s, door.left_s
    if turn_s is None or left_s is None or surely_s(door.position, turn_s) < left_s:
        return Queue(door.position)
    return TooLate(expected_wait_s(door.position, turn_s))


def promised_places(limit: int) -> int:
    """Places that promises may hold of a line of this limit, and the most that they may take beyond
    it."""
    return limit // 2


def expected_wait_s(position: int, turn_s: float) -> float:
    """About how long the request at this place waits for its slot."""
    return position * turn_s


def surely_s(position: int, turn_s: float) -> float:
    """The wait that nine of ten at this place exceed."""
    return max(0.0, position - _SPREAD * sqrt(position)) * turn_s


def within_s(starts: int, turn_s: float, measured: int = 0) -> float:
    """The time in which so many requests start, in nine cases of ten.

    If answers differ as much as they do at random (an exponential distribution), the time of k
    starts has the mean k and the deviation sqrt(k), in turns; for k = 1 this is exact (2.3). The
    turn itself is known from so many measured ones, and deviates by the root of their number.
    """
    doubt = starts * starts / measured if measured else 0.0
    return (starts + _SPREAD * sqrt(starts + doubt)) * turn_s


class Pace:
    """How fast a model's line moves, from what ended."""

    def __init__(self) -> None:
        self._alone = _Mean()
        self._full = _Mean()
        self._last_end_at: float | None = None

    @property
    def service_s(self) -> float:
        """Mean time that an answer holds a slot; 0: none has ended yet."""
        return self._alone.value

    def served(self, took_s: float, *, now: float, slots: int, waited: bool) -> None:
        """An answer ended. `waited`: somebody waits, so that the slot is taken again at once.

        From such an end to the next all slots are busy: the time says how fast the line moves.
        """
        self._alone.add(took_s)
        if self._last_end_at is not None:
            self._full.add((now - self._last_end_at) * max(1, slots))
        self._last_end_at = now if waited else None

    def turn_s(self, slots: int, workers: int) -> float | None:
        """Time from one start to the next while somebody waits; None: no answer has ended yet.

        Until the line itself was measured, the slots of one worker together are taken to be as fast
        as one alone: they share a processor. Who is told too long a time comes late once, who is
        told too short a time is refused twice.
        """
        if self._full.count:
            return self._full.value / max(1, slots)
        return self._alone.value / max(1, workers) if self._alone.count else None

    @property
    def measured(self) -> int:
        """How many ends stand behind `turn_s`; a running mean forgets the oldest ones. Lone answers
        tell little of a full line, however many there were."""
        lone = min(self._alone.count, _LONE_ANSWERS_WORTH)
        return min(self._full.count, int(2 / _WEIGHT - 1)) or lone


class _Mean:
    """The mean of the first few values, then a running one."""

    def __init__(self) -> None:
        self.value = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        self.count += 1
        self.value += max(_WEIGHT, 1 / self.count) * (value - self.value)


@dataclass(frozen=True, slots=True, order=True)
class _Promise:
    number: int
    """Who was refused first is promised first, however often."""
    due_at: float
    made_at: float
    until: float
    mark: Mark


class Promises:
    """Who was refused, and the time that each was told.

    Each is told when, after all who were promised before, one more place will be free; as many
    places are held as promises are out, at most half of all. Who does not come back in time loses
    it. How much later than computed people are told to come is learnt from whether they found a
    place within the limit: one who did not makes it grow by as much as twenty who did make it
    shrink, so that it settles where 95 of a hundred do.
    """

    def __init__(self) -> None:
        self._in_order: list[_Promise] = []
        self._by_end: list[tuple[float, _Promise]] = []
        self._by_mark: dict[Mark, deque[_Promise]] = {}
        self._made = 0
        self._care = 1.0

    def __len__(self) -> int:
        return len(self._in_order)

    def held(self, limit: int, now: float) -> int:
        """Places that are held for others than those who come unpromised."""
        while self._by_end and self._by_end[0][0] < now:
            _, promise = heappop(self._by_end)
            if promise in self._by_mark.get(promise.mark, ()):
                self._drop(promise)
        return min(len(self._in_order), promised_places(limit))

    def is_due(self, mark: Mark, now: float) -> bool:
        """Whether a place is held for a request like this."""
        own = self._by_mark.get(mark)
        return own is not None and own[0].due_at <= now

    def kept(self, mark: Mark, now: float, *, beyond: bool) -> None:
        """A request like this got in; `beyond`: only because it was promised."""
        own = self._by_mark.get(mark)
        if own is None:
            return
        if own[0].due_at <= now:
            self._learn(broken=beyond)
        self._drop(own[0])

    def refuse(self, mark: Mark, turn_s: float, *, measured: int = 0, most: int, now: float) -> int:
        """A request like this finds no place; gives the whole seconds after which it will.

        Who comes before its time is told the rest of it. No more than `most` promises are made:
        the next ones are told the time of the last.
        """
        own = self._by_mark.get(mark)
        before = len(self._in_order)
        number = self._made
        if own is not None and own[0].due_at <= now:
            self._learn(broken=True)
            number = own[0].number
            before = bisect_left(self._in_order, own[0])
            self._drop(own[0])
        elif own is not None and now - own[0].made_at > _AT_ONCE_S:
            return _whole(own[0].due_at - now)
        elif before >= most:
            return _whole(self._in_order[-1].due_at - now if before else turn_s)
        else:
            self._made += 1
        after_s = _whole(within_s(before + 1, turn_s, measured) * self._care)
        until = now + after_s + max(_HELD_MIN_S, after_s * _HELD_SHARE)
        self._put(_Promise(number, now + after_s, now, until, mark))
        return after_s

    def _learn(self, *, broken: bool) -> None:
        care = self._care * (_BROKEN if broken else _KEPT)
        self._care = min(_CARE_MAX, max(_CARE_MIN, care))

    def _put(self, promise: _Promise) -> None:
        insort(self._in_order, promise)
        heappush(self._by_end, (promise.until, promise))
        self._by_mark.setdefault(promise.mark, deque()).append(promise)

    def _drop(self, promise: _Promise) -> None:
        del self._in_order[bisect_left(self._in_order, promise)]
        own = self._by_mark[promise.mark]
        own.remove(promise)
        if not own:
            del self._by_mark[promise.mark]


def _whole(seconds: float) -> int:
    return max(1, ceil(seconds))
