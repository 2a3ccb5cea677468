"""The table of a job's life, checked as a table."""

from __future__ import annotations

import pytest

from rbee.policy.job_life import (
    ACTIVE,
    ENDED,
    START,
    TABLE,
    Effect,
    Event,
    ImpossibleEvent,
    Life,
    State,
)


def _reachable(first: State) -> set[State]:
    seen, todo = {first}, [first]
    while todo:
        state = todo.pop()
        for after in {after for (before, _), (after, _) in TABLE.items() if before is state} - seen:
            seen.add(after)
            todo.append(after)
    return seen


def test_every_state_is_reachable() -> None:
    """No state stands in the table that no job can be in."""
    assert _reachable(START) == set(State)


@pytest.mark.parametrize("state", [*sorted(ACTIVE), *sorted(ENDED)])
def test_no_state_is_a_trap(state: State) -> None:
    """Every job is forgotten one day; one that is left is the next rbee's."""
    assert State.GONE in _reachable(state)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", [Event.CANCEL, Event.STOPS])
def test_what_somebody_waits_on_is_answered_everywhere(state: State, event: Event) -> None:
    """A cancel, and the end of rbee, have an answer in every state."""
    assert (state, event) in TABLE


def test_every_event_and_effect_is_used() -> None:
    """The table has no dead words."""
    assert {event for _, event in TABLE} == set(Event)
    assert {effect for _, effects in TABLE.values() for effect in effects} == set(Effect)


@pytest.mark.parametrize("state", sorted(ACTIVE))
@pytest.mark.parametrize("event", [Event.FINISHED, Event.BROKE, Event.CANCEL])
def test_an_end_is_always_written_down(state: State, event: Event) -> None:
    """No end is told before the journal has it."""
    after, effects = TABLE[state, event]
    assert after in ENDED and Effect.SEAL in effects


@pytest.mark.parametrize("state", sorted(ENDED))
@pytest.mark.parametrize("event", Event)
def test_an_end_is_final(state: State, event: Event) -> None:
    """Whatever comes later, an ended job stays as it ended until it is forgotten."""
    if (state, event) in TABLE:
        after, effects = TABLE[state, event]
        assert after in (state, State.GONE) and Effect.SEAL not in effects


def test_a_stop_is_no_end() -> None:
    """What rbee leaves behind is not written down as ended: the next one goes on with it."""
    after, effects = TABLE[State.RUNNING, Event.STOPS]
    assert after is State.LEFT and effects == (Effect.STOP, Effect.PART)


def test_an_impossible_pair_tells_the_last_events() -> None:
    """A mistake of ours names the way that led to it."""
    life = Life()
    life.tell(Event.RUNS)
    life.tell(Event.FINISHED)
    with pytest.raises(ImpossibleEvent, match=r"RUNS in done.*queued:RUNS running:FINISHED"):
        life.tell(Event.RUNS)


def test_a_usual_life() -> None:
    """In line, loading, running, back in line when a worker is lost, running, done, gone."""
    life = Life()
    for event in (Event.QUEUES, Event.LOADS, Event.RUNS, Event.QUEUES, Event.RUNS):
        assert life.tell(event) == () and life.active
    assert life.tell(Event.FINISHED) == (Effect.SEAL,) and life.ended
    assert life.tell(Event.CANCEL) == ()
    assert life.tell(Event.OVER) == (Effect.ERASE,) and life.state is State.GONE
