"""The life of one worker process, as a table told by one owner (`worker.supervisor`).

    LOADING ──listens──> SERVING ──orphaned──> LINGERING ──idle──> ENDING ──engine ended──> ENDED

A worker is a small process that supervises its engine, a child: the built-in engine holds the
interpreter for the whole load (measured: 0.68 s of a 0.68 s load without one turn of another
thread), so whoever keeps the lifeline while a model loads cannot live in the same process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class State(Enum):
    LOADING = "loading"
    SERVING = "serving"
    LINGERING = "lingering"
    """Its hive is gone for good: it finishes what runs."""
    ENDING = "ending"
    ENDED = "ended"


class Event(Enum):
    ENGINE_LISTENS = "engine listens"
    ENGINE_ENDED = "engine ended"
    STOP = "stop"
    ORPHANED = "orphaned"
    """No hive for `orphan_s`."""
    IDLE = "idle"
    """Nothing runs any more, or the time for it is over."""


class Effect(Enum):
    SAY_LISTENING = "say listening"
    SAY_FAILED = "say failed"
    WAIT_FOR_IDLE = "wait for idle"
    END_ENGINE = "end engine"
    EXIT_CLEAN = "exit 0"
    EXIT_AS_ENGINE = "exit as the engine did"


Step = tuple[State, tuple[Effect, ...]]

TABLE: Mapping[tuple[State, Event], Step] = MappingProxyType(
    {
        (State.LOADING, Event.ENGINE_LISTENS): (State.SERVING, (Effect.SAY_LISTENING,)),
        (State.LOADING, Event.ENGINE_ENDED): (
            State.ENDED,
            (Effect.SAY_FAILED, Effect.EXIT_AS_ENGINE),
        ),
        (State.LOADING, Event.STOP): (State.ENDING, (Effect.END_ENGINE,)),
        (State.LOADING, Event.ORPHANED): (State.ENDING, (Effect.END_ENGINE,)),
        (State.SERVING, Event.ENGINE_ENDED): (
            State.ENDED,
            (Effect.SAY_FAILED, Effect.EXIT_AS_ENGINE),
        ),
        (State.SERVING, Event.STOP): (State.ENDING, (Effect.END_ENGINE,)),
        (State.SERVING, Event.ORPHANED): (State.LINGERING, (Effect.WAIT_FOR_IDLE,)),
        (State.LINGERING, Event.IDLE): (State.ENDING, (Effect.END_ENGINE,)),
        (State.LINGERING, Event.STOP): (State.ENDING, (Effect.END_ENGINE,)),
        (State.LINGERING, Event.ENGINE_ENDED): (State.ENDED, (Effect.EXIT_AS_ENGINE,)),
        (State.ENDING, Event.ENGINE_ENDED): (State.ENDED, (Effect.EXIT_CLEAN,)),
        (State.ENDING, Event.ENGINE_LISTENS): (State.ENDING, ()),
        (State.ENDING, Event.STOP): (State.ENDING, ()),
        (State.ENDING, Event.ORPHANED): (State.ENDING, ()),
        (State.ENDING, Event.IDLE): (State.ENDING, ()),
    }
)


class Life:
    """Where one worker is, and how it came there."""

    def __init__(self) -> None:
        self.state = State.LOADING
        self._last: deque[str] = deque(maxlen=20)

    def tell(self, event: Event) -> tuple[Effect, ...]:
        """Take the event; what to do about it is returned. Nothing moves an ended worker."""
        if self.state is State.ENDED:
            return ()
        step = TABLE.get((self.state, event))
        self._last.append(f"{self.state.value}: {event.value}")
        if step is None:
            raise AssertionError("no row for this in worker.life: " + "; ".join(self._last))
        self.state, effects = step
        return effects
