"""The life of one job, as a table: (state, event) -> (state, effects).

Its owner in the queen holds a `Life`, tells it what happened, and does the effects that come back,
in order. A cancelled job may still hear the last words of its work; everything that somebody waits
on (`CANCEL`) is answered in every state.

    queued     it waits for a slot
    loading    it waits for its model
    running    a worker has it; back to queued if that one is lost
    done       the whole answer is there
    failed     it ended with an error; what came of the answer is kept
    cancelled  somebody ended it
    left       rbee stops; the journal has it, and the next rbee goes on with it
    gone       forgotten, its bytes erased
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    QUEUED = "queued"
    LOADING = "loading"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LEFT = "left"
    GONE = "gone"


class Event(StrEnum):
    QUEUES = "QUEUES"
    """It stands in line."""
    LOADS = "LOADS"
    """Its model is being loaded."""
    RUNS = "RUNS"
    """A worker has it."""
    FINISHED = "FINISHED"
    """The answer is whole."""
    BROKE = "BROKE"
    """The answer ended with an error."""
    CANCEL = "CANCEL"
    """Somebody wants it ended, or nobody wants it any more."""
    STOPS = "STOPS"
    """rbee stops."""
    OVER = "OVER"
    """The time for which it is kept is over, or its room is needed."""


class Effect(StrEnum):
    STOP = "STOP"
    """End the work at the engine."""
    SEAL = "SEAL"
    """Write the end into the journal; then tell those who are attached."""
    PART = "PART"
    """Tell those who are attached that rbee stops."""
    ERASE = "ERASE"
    """Take it out of memory and journal."""


Row = tuple[State, tuple[Effect, ...]]

_S, _E, _F = State, Event, Effect

ACTIVE = frozenset({_S.QUEUED, _S.LOADING, _S.RUNNING})
ENDED = frozenset({_S.DONE, _S.FAILED, _S.CANCELLED})


def _active(state: State) -> dict[tuple[State, Event], Row]:
    return {
        (state, _E.QUEUES): (_S.QUEUED, ()),
        (state, _E.LOADS): (_S.LOADING, ()),
        (state, _E.RUNS): (_S.RUNNING, ()),
        (state, _E.FINISHED): (_S.DONE, (_F.SEAL,)),
        (state, _E.BROKE): (_S.FAILED, (_F.SEAL,)),
        (state, _E.CANCEL): (_S.CANCELLED, (_F.STOP, _F.SEAL)),
        (state, _E.STOPS): (_S.LEFT, (_F.STOP, _F.PART)),
    }


def _ended(state: State) -> dict[tuple[State, Event], Row]:
    return {
        (state, _E.CANCEL): (state, ()),
        (state, _E.STOPS): (state, ()),
        (state, _E.OVER): (_S.GONE, (_F.ERASE,)),
    }


def _deaf(state: State) -> dict[tuple[State, Event], Row]:
    """Last words of work that was ended change nothing."""
    words = (_E.QUEUES, _E.LOADS, _E.RUNS, _E.FINISHED, _E.BROKE)
    return {(state, event): (state, ()) for event in words}


_ROWS: dict[tuple[State, Event], Row] = {
    **_active(_S.QUEUED),
    **_active(_S.LOADING),
    **_active(_S.RUNNING),
    **_ended(_S.DONE),
    **_ended(_S.FAILED),
    **_ended(_S.CANCELLED),
    **_deaf(_S.CANCELLED),
    **_deaf(_S.LEFT),
    (_S.LEFT, _E.CANCEL): (_S.LEFT, ()),
    (_S.LEFT, _E.STOPS): (_S.LEFT, ()),
    **_deaf(_S.GONE),
    (_S.GONE, _E.CANCEL): (_S.GONE, ()),
    (_S.GONE, _E.STOPS): (_S.GONE, ()),
    (_S.GONE, _E.OVER): (_S.GONE, ()),
}

TABLE: Mapping[tuple[State, Event], Row] = MappingProxyType(_ROWS)
"""The whole life. `docs/states.md` is generated from it."""

START = State.QUEUED
_REMEMBERED_EVENTS = 8


class ImpossibleEvent(Exception):
    """A pair that is not in the table: a mistake of ours, never a fault of the world."""


class Life:
    """Where one job stands, and how it came there."""

    def __init__(self, state: State = START) -> None:
        self.state = state
        self.active = state in ACTIVE
        """Asked with every token, so it is remembered."""
        self._last: deque[str] = deque(maxlen=_REMEMBERED_EVENTS)

    def tell(self, event: Event) -> tuple[Effect, ...]:
        """Take an event; gives the effects to be done, in order. Raises `ImpossibleEvent`."""
        row = TABLE.get((self.state, event))
        if row is None:
            past = " ".join(self._last) or "nothing"
            raise ImpossibleEvent(f"{event.value} in {self.state.value}, after {past}")
        self._last.append(f"{self.state.value}:{event.value}")
        self.state, effects = row
        self.active = self.state in ACTIVE
        return effects

    @property
    def ended(self) -> bool:
        return self.state in ENDED
