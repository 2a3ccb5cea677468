"""Promises of the table in `worker.life`."""

from __future__ import annotations

import pytest

from rbee.worker.life import TABLE, Effect, Event, Life, State


def test_every_state_is_reached() -> None:
    """No row leads nowhere, no state is only a name."""
    reached = {State.LOADING} | {state for state, _ in TABLE.values()}
    assert reached == set(State)


@pytest.mark.parametrize("state", [state for state in State if state is not State.ENDED])
def test_there_is_a_way_out_of_every_state(state: State) -> None:
    """The engine's end ends the worker, wherever it is; and it exits exactly once."""
    after, effects = TABLE[(state, Event.ENGINE_ENDED)]
    assert after is State.ENDED
    assert len({Effect.EXIT_CLEAN, Effect.EXIT_AS_ENGINE} & set(effects)) == 1


@pytest.mark.parametrize("state", [state for state in State if state is not State.ENDED])
def test_stop_is_heard_in_every_state(state: State) -> None:
    """Stop leads to ENDING from wherever a worker is."""
    assert TABLE[(state, Event.STOP)][0] is State.ENDING


def test_an_end_that_was_asked_for_is_clean() -> None:
    """However the engine died of it: exit code 0."""
    life = Life()
    assert life.tell(Event.STOP) == (Effect.END_ENGINE,)
    assert life.tell(Event.ENGINE_ENDED) == (Effect.EXIT_CLEAN,)


def test_what_an_engine_died_of_is_said_while_it_served_too() -> None:
    """A hive that did not start this worker cannot see how it ended: only its own word tells."""
    life = Life()
    life.tell(Event.ENGINE_LISTENS)
    assert life.tell(Event.ENGINE_ENDED) == (Effect.SAY_FAILED, Effect.EXIT_AS_ENGINE)


def test_nothing_moves_an_ended_worker() -> None:
    """A late Stop or health answer brings nothing about."""
    life = Life()
    life.tell(Event.ENGINE_ENDED)
    for event in Event:
        assert life.tell(event) == ()


def test_an_impossible_pair_is_shouted_with_what_came_before() -> None:
    """A mistake of ours shows its history."""
    life = Life()
    life.tell(Event.ENGINE_LISTENS)
    with pytest.raises(AssertionError, match="loading: engine listens; serving: idle"):
        life.tell(Event.IDLE)
