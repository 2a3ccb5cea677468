"""The circuit breaker, as a table and by what it is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.breaker import (
    TABLE,
    Breaker,
    Effect,
    Event,
    ImpossibleEvent,
    State,
    is_fault,
)

FAULT = "WORKER_LOST"


def _reachable(first: State) -> set[State]:
    seen, todo = {first}, [first]
    while todo:
        before = todo.pop()
        for (state, _), (after, _) in TABLE.items():
            if state is before and after not in seen:
                seen.add(after)
                todo.append(after)
    return seen


def test_every_state_is_reachable_and_none_is_a_trap() -> None:
    """From everywhere a worker can come back to all of its work."""
    for state in State:
        assert _reachable(state) == set(State)


def test_every_event_and_effect_is_used() -> None:
    """The table has no dead words."""
    assert {event for _, event in TABLE} == set(Event)
    assert {effect for _, effects in TABLE.values() for effect in effects} == set(Effect)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", [Event.SERVED, Event.FAULT])
def test_an_attempt_may_end_in_every_state(state: State, event: Event) -> None:
    """Attempts that began earlier end when they like."""
    assert (state, event) in TABLE


def test_what_cannot_be_is_a_mistake() -> None:
    """A trial that nobody let through is no event of a closed breaker."""
    with pytest.raises(ImpossibleEvent):
        Breaker().tell(Event.TRIAL_SERVED)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("WORKER_LOST", True),
        ("WORKER_CRASHED", True),
        ("WORKER_OUT_OF_MEMORY", True),
        ("WORKER_HUNG", True),
        ("FIRST_TOKEN_TIMEOUT", True),
        ("TOKEN_STALL", True),
        ("ENGINE_REFUSED", False),
        ("CONTEXT_OVERFLOW", False),
        ("ENDPOINT_UNSUPPORTED", False),
        ("DEADLINE_EXCEEDED", False),
        ("CANCELLED", False),
        ("QUEUE_FULL", False),
        ("CODE_OF_A_NEWER_RBEE", False),
    ],
)
def test_only_the_workers_faults_count(code: str, fault: bool) -> None:
    """What the request or the client is to blame for says nothing of the worker."""
    assert is_fault(code) is fault


def test_five_faults_in_a_row_open_it() -> None:
    """Four do not, and one success between begins the count anew."""
    breaker = Breaker()
    for _ in range(4):
        assert breaker.score(FAULT, trial=False, now=0) == ()
    breaker.score(None, trial=False, now=0)
    for _ in range(4):
        assert breaker.score(FAULT, trial=False, now=40) == ()

    assert breaker.score(FAULT, trial=False, now=40) == (Effect.OPEN,)
    assert breaker.state is State.OPEN


def test_more_than_half_of_ten_within_30_s_open_it() -> None:
    """A worker that fails every other time, and once more; what is older than 30 s is forgotten."""
    breaker = Breaker()
    for number in range(10):
        breaker.score(FAULT if number % 2 else None, trial=False, now=number)
    assert breaker.state is State.CLOSED
    assert breaker.score(FAULT, trial=False, now=10) == (Effect.OPEN,)

    slow = Breaker()
    for number in range(40):
        slow.score(FAULT if number % 3 else None, trial=False, now=number * 4.0)
    assert slow.state is State.CLOSED


def test_refusals_never_open_it() -> None:
    """A thousand bad requests are a thousand bad requests."""
    breaker = Breaker()
    for _ in range(1000):
        breaker.score("ENGINE_REFUSED", trial=False, now=0)
        breaker.score("CANCELLED", trial=False, now=0)

    assert breaker.state is State.CLOSED and breaker.faults_in_row == 0


def test_a_hung_worker_is_cut_off_at_once() -> None:
    """Nobody else is sent to find out that it answers no probe."""
    assert Breaker().score("WORKER_HUNG", trial=False, now=0) == (Effect.OPEN,)


def half_open() -> Breaker:
    breaker = Breaker()
    for _ in range(5):
        breaker.score(FAULT, trial=False, now=0)
    breaker.tell(Event.WAITED)
    breaker.tell(Event.LET_THROUGH)
    return breaker


@pytest.mark.parametrize(
    ("code", "state", "effects"),
    [
        (None, State.CLOSED, (Effect.RECOVER,)),
        (FAULT, State.OPEN, (Effect.OPEN,)),
        ("CANCELLED", State.HALF, ()),
        ("ENGINE_REFUSED", State.HALF, ()),
    ],
)
def test_the_trial_decides(code, state, effects) -> None:
    """Well: closed. A fault: open again. No verdict: the next one tries."""
    breaker = half_open()
    for late in (FAULT, None, FAULT, "CANCELLED"):
        breaker.score(late, trial=False, now=1)
        assert breaker.state is State.TRIAL

    assert breaker.score(code, trial=True, now=1) == effects
    assert breaker.state is state


@given(st.lists(st.sampled_from([None, FAULT, "ENGINE_REFUSED", "CANCELLED"]), max_size=300))
def test_whatever_ends_is_understood(codes) -> None:
    """No order of ends is impossible, and it opens only for a reason."""
    breaker = Breaker()
    faults = 0
    for number, code in enumerate(codes):
        breaker.score(code, trial=False, now=number * 0.1)
        faults += code == FAULT
        assert breaker.state is State.CLOSED or faults >= 5
