"""The life of one worker, as a table: (state, event) -> (state, effects).

One owner in the hive holds a `Life`, tells it what happened, and does the effects that come back,
in order. A life may see several processes: after an unasked death the owner asks
`policy.restart`, and `RETRY` or `QUARANTINE` follows. Every event that somebody waits on (`WANTED`,
`UNWANTED`, `STOP_NOW`) is answered in every state; a pair that is not in the table is a mistake of
ours and raises, printing the last events.

    STARTING   a process was asked for; it has not said hello
    LOADING    it said hello and loads the model
    READY      it serves, and nobody uses it
    BUSY       it serves somebody
    DRAINING   it gets no new work; it ends when the last answer is done, or when its time is over
    STOPPED    the end: asked for, and the process is gone or being reaped
    FAILED     it died unasked or could not start; started again later, unless the cause is lasting
    QUARANTINED  it crashed too often: only a person's fresh wish starts it again
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    STARTING = "STARTING"
    LOADING = "LOADING"
    READY = "READY"
    BUSY = "BUSY"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    QUARANTINED = "QUARANTINED"


class Event(StrEnum):
    WANTED = "WANTED"
    """Somebody wishes it afresh: what is remembered against it is forgotten."""
    UNWANTED = "UNWANTED"
    """Nobody wishes it any more: drain and end."""
    STOP_NOW = "STOP_NOW"
    """End it without draining."""
    IDLE_OVER = "IDLE_OVER"
    """It was idle for its keep_alive."""
    HELLO = "HELLO"
    """The process dialled the lifeline."""
    PROGRESS = "PROGRESS"
    """The load moved on."""
    LISTENING = "LISTENING"
    """The engine serves."""
    REFUSED = "REFUSED"
    """It cannot be started: no process was made."""
    LATE = "LATE"
    """The limit of this state is over: no hello, no progress, or not drained."""
    HUNG = "HUNG"
    """It does not answer its probe, or the queen saw it hang."""
    UNFIT = "UNFIT"
    """It has loaded, and its self-test says that it must not serve."""
    WORK_BEGAN = "WORK_BEGAN"
    WORK_ENDED = "WORK_ENDED"
    EXITED = "EXITED"
    """The process is gone, for whatever reason."""
    RETRY = "RETRY"
    """The pause before the next start is over."""
    QUARANTINE = "QUARANTINE"
    """`policy.restart` refuses to start it again."""


class Effect(StrEnum):
    SPAWN = "SPAWN"
    """Start a process, once the one before is reaped."""
    EXTEND = "EXTEND"
    """It made progress: the limit of this state starts anew."""
    STOP = "STOP"
    """Ask the process to end; SIGKILL to its group after term_s."""
    KILL = "KILL"
    """SIGKILL to its group now."""
    JUDGE = "JUDGE"
    """Find the cause of the death and decide about another start."""
    CLEAN = "CLEAN"
    """Reap what the process left: group, port, folder."""
    FINISH = "FINISH"
    """The owner is done once the process is reaped."""


Row = tuple[State, tuple[Effect, ...]]

_S, _E, _F = State, Event, Effect


def _serving(state: State) -> dict[tuple[State, Event], Row]:
    """What READY and BUSY have in common."""
    return {
        (state, _E.WANTED): (state, ()),
        (state, _E.UNWANTED): (_S.DRAINING, ()),
        (state, _E.STOP_NOW): (_S.DRAINING, (_F.STOP,)),
        (state, _E.HELLO): (state, ()),
        (state, _E.PROGRESS): (state, ()),
        (state, _E.LISTENING): (state, ()),
        (state, _E.HUNG): (_S.FAILED, (_F.KILL,)),
        (state, _E.WORK_BEGAN): (_S.BUSY, ()),
        (state, _E.WORK_ENDED): (_S.READY, ()),
        (state, _E.EXITED): (_S.FAILED, (_F.JUDGE, _F.CLEAN)),
    }


def _starting(state: State) -> dict[tuple[State, Event], Row]:
    """What STARTING and LOADING have in common. Work is told late, by a queen that dials again."""
    return {
        (state, _E.WANTED): (state, ()),
        (state, _E.UNWANTED): (_S.DRAINING, (_F.STOP,)),
        (state, _E.STOP_NOW): (_S.DRAINING, (_F.STOP,)),
        (state, _E.HELLO): (_S.LOADING, (_F.EXTEND,)),
        (state, _E.PROGRESS): (_S.LOADING, (_F.EXTEND,)),
        (state, _E.LISTENING): (_S.READY, ()),
        (state, _E.REFUSED): (_S.FAILED, (_F.JUDGE,)),
        (state, _E.LATE): (_S.FAILED, (_F.KILL,)),
        (state, _E.HUNG): (_S.FAILED, (_F.KILL,)),
        (state, _E.UNFIT): (_S.FAILED, (_F.KILL,)),
        (state, _E.WORK_BEGAN): (state, ()),
        (state, _E.WORK_ENDED): (state, ()),
        (state, _E.EXITED): (_S.FAILED, (_F.JUDGE, _F.CLEAN)),
    }


def _dead(state: State) -> dict[tuple[State, Event], Row]:
    """What FAILED and QUARANTINED have in common: words of a process that is being reaped."""
    return {
        (state, _E.WANTED): (_S.STARTING, (_F.SPAWN,)),
        (state, _E.UNWANTED): (_S.STOPPED, (_F.KILL, _F.FINISH)),
        (state, _E.STOP_NOW): (_S.STOPPED, (_F.KILL, _F.FINISH)),
        (state, _E.HELLO): (state, ()),
        (state, _E.PROGRESS): (state, ()),
        (state, _E.LISTENING): (state, ()),
        (state, _E.REFUSED): (state, ()),
        (state, _E.HUNG): (state, ()),
        (state, _E.WORK_BEGAN): (state, ()),
        (state, _E.WORK_ENDED): (state, ()),
        (state, _E.EXITED): (state, (_F.JUDGE, _F.CLEAN)),
    }


_ROWS: dict[tuple[State, Event], Row] = {
    **_starting(_S.STARTING),
    **_starting(_S.LOADING),
    **_serving(_S.READY),
    (_S.READY, _E.IDLE_OVER): (_S.DRAINING, ()),
    **_serving(_S.BUSY),
    (_S.BUSY, _E.IDLE_OVER): (_S.BUSY, ()),
    (_S.DRAINING, _E.WANTED): (_S.DRAINING, ()),
    (_S.DRAINING, _E.UNWANTED): (_S.DRAINING, ()),
    (_S.DRAINING, _E.STOP_NOW): (_S.DRAINING, (_F.STOP,)),
    (_S.DRAINING, _E.IDLE_OVER): (_S.DRAINING, ()),
    (_S.DRAINING, _E.HELLO): (_S.DRAINING, ()),
    (_S.DRAINING, _E.PROGRESS): (_S.DRAINING, ()),
    (_S.DRAINING, _E.LISTENING): (_S.DRAINING, ()),
    (_S.DRAINING, _E.REFUSED): (_S.STOPPED, (_F.FINISH,)),
    (_S.DRAINING, _E.LATE): (_S.DRAINING, (_F.STOP,)),
    (_S.DRAINING, _E.HUNG): (_S.DRAINING, (_F.KILL,)),
    (_S.DRAINING, _E.WORK_BEGAN): (_S.DRAINING, ()),
    (_S.DRAINING, _E.WORK_ENDED): (_S.DRAINING, (_F.STOP,)),
    (_S.DRAINING, _E.EXITED): (_S.STOPPED, (_F.CLEAN, _F.FINISH)),
    **_dead(_S.FAILED),
    (_S.FAILED, _E.RETRY): (_S.STARTING, (_F.SPAWN,)),
    (_S.FAILED, _E.QUARANTINE): (_S.QUARANTINED, ()),
    **_dead(_S.QUARANTINED),
    **{(_S.STOPPED, event): (_S.STOPPED, ()) for event in Event},
    (_S.STOPPED, _E.EXITED): (_S.STOPPED, (_F.CLEAN,)),
}

TABLE: Mapping[tuple[State, Event], Row] = MappingProxyType(_ROWS)
"""The whole life. `docs/states.md` is generated from it."""

START = State.STARTING
END = State.STOPPED
_REMEMBERED_EVENTS = 8


class ImpossibleEvent(Exception):
    """A pair that is not in the table: a mistake of ours, never a fault of the world."""


class Life:
    """Where one worker stands, and how it came there."""

    def __init__(self) -> None:
        self.state = START
        self._last: deque[str] = deque(maxlen=_REMEMBERED_EVENTS)

    def tell(self, event: Event) -> tuple[Effect, ...]:
        """Take an event; gives the effects to be done, in order. Raises `ImpossibleEvent`."""
        row = TABLE.get((self.state, event))
        if row is None:
            past = " ".join(self._last) or "nothing"
            raise ImpossibleEvent(f"{event.value} in {self.state.value}, after {past}")
        self._last.append(f"{self.state.value}:{event.value}")
        self.state, effects = row
        return effects
