"""Run now, queue at a place, or refuse: the decision at the door of one model.

Slots are the engine's; the queue is ours, because an engine queues without bound and says nothing
(docs/measured.md, Slots). Refusals carry a time that was measured, not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """A slot is free and nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Wait at this place; 1 is next."""

    position: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """The queue is full; a place should be free after `retry_after_s`."""

    retry_after_s: int


Decision = Run | Queue | Refuse


@dataclass(frozen=True, slots=True)
class Door:
    """What the decision looks at."""

    free_slots: int
    ready_slots: int
    """Slots of workers that can serve now; 0 while all are loading."""
    loading_slots: int
    """Slots that will be there once loading is done."""
    waiting: int
    limit: int
    mean_service_s: float
    """Measured time that one answer holds a slot; 0: nothing measured yet."""


def decide(door: Door) -> Decision:
    """The door's answer to one more request.

    While nothing is ready, as many as will have a slot may wait beyond the limit: with a queue
    of 0 a model could otherwise never be loaded on demand.
    """
    if door.free_slots > 0 and door.waiting == 0:
        return Run()
    limit = door.limit
    if door.ready_slots == 0:
        limit = max(limit, door.loading_slots, 1)
    elif door.waiting < door.free_slots:
        return Queue(door.waiting + 1)
    if door.waiting >= limit:
        return Refuse(retry_after_s(door))
    return Queue(door.waiting + 1)


def retry_after_s(door: Door) -> int:
    """Seconds until the queue should have a place: the time in which one waiting request starts.

    One place becomes free whenever any slot finishes an answer, on average every
    `mean_service_s / slots` (Little's law on a full station). Without a measurement: 1 s.
    """
    slots = max(1, door.ready_slots)
    return max(1, round(door.mean_service_s / slots))


def expected_wait_s(position: int, slots: int, mean_service_s: float) -> float:
    """About how long the request at this place waits for its slot."""
    return position * mean_service_s / max(1, slots)
