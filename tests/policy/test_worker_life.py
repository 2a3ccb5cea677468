"""The table of a worker's life, checked as a table."""

from __future__ import annotations

import pytest

from rbee.policy.worker_life import (
    END,
    START,
    TABLE,
    Effect,
    Event,
    ImpossibleEvent,
    Life,
    State,
)

AWAITED = (Event.WANTED, Event.UNWANTED, Event.STOP_NOW, Event.EXITED)


def _next_states(state: State) -> set[State]:
    return {after for (before, _), (after, _) in TABLE.items() if before is state}


def _reachable(first: State) -> set[State]:
    seen = {first}
    todo = [first]
    while todo:
        for state in _next_states(todo.pop()) - seen:
            seen.add(state)
            todo.append(state)
    return seen


def test_every_state_is_reachable() -> None:
    """No state stands in the table that no worker can be in."""
    assert _reachable(START) == set(State)


def test_no_state_is_a_trap() -> None:
    """From every state a worker can come to its end."""
    for state in State:
        assert END in _reachable(state), state


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", AWAITED)
def test_what_somebody_waits_on_is_answered_everywhere(state: State, event: Event) -> None:
    """Wishes, stops and deaths have an answer in every state."""
    assert (state, event) in TABLE


def test_every_event_and_effect_is_used() -> None:
    """The table has no dead words."""
    assert {event for _, event in TABLE} == set(Event)
    assert {effect for _, effects in TABLE.values() for effect in effects} == set(Effect)


@pytest.mark.parametrize("state", State)
def test_a_death_is_always_cleaned_up(state: State) -> None:
    """Whatever the state, what a dead process left is reaped."""
    assert Effect.CLEAN in TABLE[state, Event.EXITED][1]


@pytest.mark.parametrize(
    "state", [State.STARTING, State.LOADING, State.READY, State.BUSY, State.FAILED]
)
def test_an_unasked_death_is_judged(state: State) -> None:
    """A worker that nobody stopped never ends without a cause being looked for."""
    after, effects = TABLE[state, Event.EXITED]
    assert after is State.FAILED
    assert effects[0] is Effect.JUDGE


@pytest.mark.parametrize("state", [State.DRAINING, State.STOPPED])
def test_an_asked_death_is_not_judged(state: State) -> None:
    """What the hive did itself is never reported as a crash."""
    assert Effect.JUDGE not in TABLE[state, Event.EXITED][1]


@pytest.mark.parametrize("state", [State.READY, State.BUSY])
def test_a_drain_kills_nobody(state: State) -> None:
    """It is stopped when its last answer has ended, or its time is over, and not before."""
    assert TABLE[(state, Event.UNWANTED)] == (State.DRAINING, ())
    for event in (Event.WORK_ENDED, Event.LATE):
        assert TABLE[(State.DRAINING, event)] == (State.DRAINING, (Effect.STOP,))


def test_draining_never_goes_back() -> None:
    """A worker of which the queen was told that it drains takes no new work."""
    assert _next_states(State.DRAINING) == {State.DRAINING, State.STOPPED}


def test_an_idle_worker_does_not_drain_while_busy() -> None:
    """The idle timer that rings late does not cost an answer."""
    assert TABLE[State.BUSY, Event.IDLE_OVER] == (State.BUSY, ())


def test_an_impossible_pair_tells_the_last_events() -> None:
    """A mistake of ours names the way that led to it."""
    life = Life()
    life.tell(Event.HELLO)
    life.tell(Event.LISTENING)
    with pytest.raises(ImpossibleEvent, match=r"RETRY in READY.*STARTING:HELLO LOADING:LISTENING"):
        life.tell(Event.RETRY)


def test_a_usual_life() -> None:
    """Start, load, serve, drain, end: the effects come in the order in which they are done."""
    life = Life()
    assert life.tell(Event.HELLO) == (Effect.EXTEND,)
    assert life.tell(Event.PROGRESS) == (Effect.EXTEND,)
    assert life.tell(Event.LISTENING) == ()
    life.tell(Event.WORK_BEGAN)
    assert life.state is State.BUSY
    life.tell(Event.UNWANTED)
    assert life.state is State.DRAINING
    assert life.tell(Event.WORK_ENDED) == (Effect.STOP,)
    assert life.tell(Event.EXITED) == (Effect.CLEAN, Effect.FINISH)
    assert life.state is END
