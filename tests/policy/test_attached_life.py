"""Promises of the table of attached servers."""

from __future__ import annotations

import pytest

from rbee.policy.attached_life import (
    SHOWN,
    START,
    TABLE,
    Effect,
    Event,
    ImpossibleEvent,
    State,
    step,
)


def after(*events: Event) -> State:
    state = START
    for event in events:
        state, _ = step(state, event)
    return state


def test_every_look_has_an_answer_in_every_state():
    """Looks come as the network likes: no pair is impossible."""
    assert set(TABLE) == {(state, event) for state in State for event in Event}
    assert set(SHOWN) == set(State)


def test_every_state_is_reached_and_left():
    """None is decoration, and none is for ever."""
    reached = {START}
    for _ in State:
        reached |= {row[0] for (state, _), row in TABLE.items() if state in reached}
    assert reached == set(State)
    for state in State:
        assert any(row[0] is not state for (known, _), row in TABLE.items() if known is state)


def test_lost_packets_are_borne_twice():
    """Two looks in vain are a network's doing; the third is the end, and any answer the begin."""
    silent = [Event.SILENT]
    assert SHOWN[after(Event.ANSWERED, *silent * 2)] == "READY"
    assert after(Event.ANSWERED, *silent * 3) is State.FAILED
    assert after(Event.ANSWERED, *silent * 2, Event.ANSWERED, *silent * 2) is State.SHAKY


@pytest.mark.parametrize("state", [one for one in State if one is not State.FAILED])
def test_a_refusal_is_certain_at_once(state: State):
    """Who waits for it is told once, and not with every look."""
    after_it, effects = step(state, Event.REFUSED)
    assert after_it is State.FAILED and Effect.TELL_FAILED in effects
    assert Effect.TELL_FAILED not in step(State.FAILED, Event.REFUSED)[1]


@pytest.mark.parametrize("state", list(State))
def test_silence_at_work_changes_nothing(state: State):
    """A server that answers one thing at a time is busy, not dead."""
    assert step(state, Event.SILENT_AT_WORK) == (state, ())


def test_an_unknown_pair_is_our_mistake():
    """It raises and names both."""
    with pytest.raises(ImpossibleEvent, match="gone in READY"):
        step(State.READY, type("Gone", (), {"value": "gone"})())
