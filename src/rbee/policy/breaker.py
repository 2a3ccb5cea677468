"""The circuit breaker of one incarnation of a worker: a life, as a table, and when it is told what.

    CLOSED   it gets work
    OPEN     it failed too often: it gets nothing until its time is over
    HALF     one request may try it
    TRIAL    that one is on its way; nobody else is let through

Attempts are scored when they end, streams included. What the request is to blame for, what was
cancelled and what ran out of the client's own time is no score at all. The table knows the trial
from attempts that began earlier and end late: only the trial decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from rbee.errors import Retry
from rbee.errors.catalogue import CATALOGUE

IN_A_ROW = 5
WINDOW_S = 30.0
WINDOW_MIN = 10
"""Fewer outcomes than this say nothing of a rate."""
WINDOW_SHARE = 0.5
_WINDOW_MAX = 200
_AT_ONCE = frozenset({"WORKER_HUNG"})
"""It did not answer a probe: nobody else is to find that out."""


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF = "half_open"
    TRIAL = "trial"

    __hash__ = str.__hash__  # Enum's own is a Python function, and tables are looked up often


class Event(StrEnum):
    SERVED = "SERVED"
    """An attempt ended well."""
    FAULT = "FAULT"
    """An attempt ended in a fault of the worker, and that is no reason yet."""
    TRIPPED = "TRIPPED"
    """A fault too many."""
    WAITED = "WAITED"
    """The time of being open is over."""
    LET_THROUGH = "LET_THROUGH"
    """The one request was given to it."""
    TRIAL_SERVED = "TRIAL_SERVED"
    TRIAL_FAULT = "TRIAL_FAULT"
    TRIAL_LEFT = "TRIAL_LEFT"
    """The trial ended without a verdict: cancelled, or refused for its own sake."""

    __hash__ = str.__hash__  # Enum's own is a Python function, and tables are looked up often


class Effect(StrEnum):
    OPEN = "OPEN"
    """Give it nothing, and wait."""
    RECOVER = "RECOVER"
    """It is well: begin again, slowly."""


Row = tuple[State, tuple[Effect, ...]]
_S, _E, _F = State, Event, Effect


def _unmoved(state: State, *events: Event) -> dict[tuple[State, Event], Row]:
    return {(state, event): (state, ()) for event in events}


_LATE = (_E.SERVED, _E.FAULT, _E.TRIPPED)
"""Ends of attempts that began while it was closed."""

TABLE: Mapping[tuple[State, Event], Row] = MappingProxyType(
    {
        **_unmoved(_S.CLOSED, _E.SERVED, _E.FAULT),
        (_S.CLOSED, _E.TRIPPED): (_S.OPEN, (_F.OPEN,)),
        **_unmoved(_S.OPEN, *_LATE),
        (_S.OPEN, _E.WAITED): (_S.HALF, ()),
        **_unmoved(_S.HALF, *_LATE),
        (_S.HALF, _E.LET_THROUGH): (_S.TRIAL, ()),
        **_unmoved(_S.TRIAL, *_LATE),
        (_S.TRIAL, _E.TRIAL_SERVED): (_S.CLOSED, (_F.RECOVER,)),
        (_S.TRIAL, _E.TRIAL_FAULT): (_S.OPEN, (_F.OPEN,)),
        (_S.TRIAL, _E.TRIAL_LEFT): (_S.HALF, ()),
    }
)
START = State.CLOSED


class ImpossibleEvent(Exception):
    """A pair that is not in the table: a mistake of ours."""


def is_fault(code: str) -> bool:
    """Whether an attempt that ended with this code says something bad of its worker.

    The catalogue knows: a fault of the infrastructure has a 5xx status, and another worker may
    succeed. Refusals (4xx), the client's deadline and its hang-up are neither.
    """
    row = CATALOGUE.get(code)
    return row is not None and row.status >= 500 and row.retry in (Retry.ELSEWHERE, Retry.SAME)


class Breaker:
    """One breaker: the table, and the outcomes that it is told by."""

    def __init__(self) -> None:
        self.state = START
        self.faults_in_row = 0
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._faults = 0

    def score(self, code: str | None, *, trial: bool, now: float) -> tuple[Effect, ...]:
        """An attempt has ended: well (None), or with this code."""
        fault = code is not None and is_fault(code)
        if code is not None and not fault:
            return self.tell(_E.TRIAL_LEFT) if trial else ()
        if trial:
            return self.tell(_E.TRIAL_FAULT if fault else _E.TRIAL_SERVED)
        self.faults_in_row = self.faults_in_row + 1 if fault else 0
        self._outcomes.append((now, fault))
        self._faults += fault
        self._forget(now)
        if not fault:
            return self.tell(_E.SERVED)
        return self.tell(_E.TRIPPED if code in _AT_ONCE or self._too_many() else _E.FAULT)

    def tell(self, event: Event) -> tuple[Effect, ...]:
        """Take an event; gives the effects to be done. Raises `ImpossibleEvent`."""
        row = TABLE.get((self.state, event))
        if row is None:
            raise ImpossibleEvent(f"{event.value} in {self.state.value}")
        self.state, effects = row
        if effects:
            self.faults_in_row = self._faults = 0
            self._outcomes.clear()
        return effects

    def _too_many(self) -> bool:
        if self.faults_in_row >= IN_A_ROW:
            return True
        count = len(self._outcomes)
        return count >= WINDOW_MIN and self._faults / count > WINDOW_SHARE

    def _forget(self, now: float) -> None:
        outcomes = self._outcomes
        while outcomes[0][0] < now - WINDOW_S or len(outcomes) > _WINDOW_MAX:
            self._faults -= outcomes.popleft()[1]
