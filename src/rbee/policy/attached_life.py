"""Whether a server that somebody else runs can be given work: a life, as a table.

    NEW      attached, and not looked at yet
    READY    its last look was well
    DOUBTED  it was silent once
    SHAKY    it was silent twice in a row: packets are lost on any network, so it still serves
    FAILED   it refuses, serves another model, or was silent three times

What it refuses (a closed port, a wrong key, a model that is gone) is certain at once. Silence while
it works on answers says nothing: many servers answer no other question meanwhile, and the limits of
the answers themselves find a server that hangs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    NEW = "NEW"
    READY = "READY"
    DOUBTED = "DOUBTED"
    SHAKY = "SHAKY"
    FAILED = "FAILED"


class Event(StrEnum):
    ANSWERED = "ANSWERED"
    """It said that it serves the model."""
    REFUSED = "REFUSED"
    SILENT = "SILENT"
    """Nothing came in time."""
    SILENT_AT_WORK = "SILENT_AT_WORK"
    """Nothing came in time, and answers run on it."""


class Effect(StrEnum):
    SHOW = "SHOW"
    """What is known of it is new."""
    TELL_FAILED = "TELL_FAILED"
    """It gets nothing, those who wait for it are told, and so is the log of faults."""
    TELL_BACK = "TELL_BACK"
    """What stands open of it in the log of faults, of an earlier life too, is over."""


Row = tuple[State, tuple[Effect, ...]]
_S, _E, _F = State, Event, Effect

_FAILS: Row = (_S.FAILED, (_F.SHOW, _F.TELL_FAILED))

TABLE: Mapping[tuple[State, Event], Row] = MappingProxyType(
    {
        (_S.NEW, _E.ANSWERED): (_S.READY, (_F.SHOW, _F.TELL_BACK)),
        (_S.NEW, _E.REFUSED): _FAILS,
        (_S.NEW, _E.SILENT): _FAILS,
        (_S.NEW, _E.SILENT_AT_WORK): (_S.NEW, ()),
        (_S.READY, _E.ANSWERED): (_S.READY, (_F.SHOW,)),
        (_S.READY, _E.REFUSED): _FAILS,
        (_S.READY, _E.SILENT): (_S.DOUBTED, ()),
        (_S.READY, _E.SILENT_AT_WORK): (_S.READY, ()),
        (_S.DOUBTED, _E.ANSWERED): (_S.READY, (_F.SHOW,)),
        (_S.DOUBTED, _E.REFUSED): _FAILS,
        (_S.DOUBTED, _E.SILENT): (_S.SHAKY, ()),
        (_S.DOUBTED, _E.SILENT_AT_WORK): (_S.DOUBTED, ()),
        (_S.SHAKY, _E.ANSWERED): (_S.READY, (_F.SHOW,)),
        (_S.SHAKY, _E.REFUSED): _FAILS,
        (_S.SHAKY, _E.SILENT): _FAILS,
        (_S.SHAKY, _E.SILENT_AT_WORK): (_S.SHAKY, ()),
        (_S.FAILED, _E.ANSWERED): (_S.READY, (_F.SHOW, _F.TELL_BACK)),
        (_S.FAILED, _E.REFUSED): (_S.FAILED, (_F.SHOW,)),
        (_S.FAILED, _E.SILENT): (_S.FAILED, (_F.SHOW,)),
        (_S.FAILED, _E.SILENT_AT_WORK): (_S.FAILED, ()),
    }
)
START = State.NEW

SHOWN: Mapping[State, str] = MappingProxyType(
    {
        _S.NEW: "STARTING",
        _S.READY: "READY",
        _S.DOUBTED: "READY",
        _S.SHAKY: "READY",
        _S.FAILED: "FAILED",
    }
)
"""The word for it that all workers share (`policy.worker_life`)."""


class ImpossibleEvent(Exception):
    """A pair that is not in the table: a mistake of ours."""


def step(state: State, event: Event) -> Row:
    """The next state and what is to be done. Raises `ImpossibleEvent`."""
    row = TABLE.get((state, event))
    if row is None:
        raise ImpossibleEvent(f"{event.value} in {state.value}")
    return row
