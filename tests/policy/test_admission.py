"""The door of one model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rbee.policy.admission import (
    Door,
    Full,
    Pace,
    Promises,
    Queue,
    Run,
    TooLate,
    decide,
    expected_wait_s,
    surely_s,
    within_s,
)

IDLE = Door(free_slots=2, ready_slots=4, loading_slots=4, waiting=0, limit=100, position=1)
BUSY = replace(IDLE, free_slots=0, waiting=3, position=4, turn_s=2.0)


def test_a_free_slot_and_no_line_runs_at_once():
    """Nobody queues in front of an idle model."""
    assert decide(IDLE) == Run()


def test_a_full_model_queues_at_the_next_place():
    """The place told is the place taken."""
    assert decide(BUSY) == Queue(4)


def test_a_queue_of_zero_refuses_when_no_slot_is_free():
    """4 slots, 3 busy, two at once and no queue: one is served and one is refused."""
    assert decide(replace(IDLE, free_slots=1, limit=0)) == Run()
    assert decide(replace(IDLE, free_slots=0, limit=0)) == Full()


def test_a_queue_of_zero_still_lets_a_model_load_on_demand():
    """While nothing is ready, those who will have a slot may wait for the loading."""
    loading = replace(IDLE, free_slots=0, ready_slots=0, limit=0)

    assert decide(loading) == Queue(1)
    assert decide(replace(loading, waiting=3, position=4)) == Queue(4)
    assert decide(replace(loading, waiting=4, position=5)) == Full()


def test_a_deadline_that_cannot_be_met_is_refused_at_once():
    """Only where even a fast line would be too slow, and only from what was measured."""
    deep = replace(BUSY, waiting=50, position=51, turn_s=2.0)

    assert decide(replace(deep, left_s=60)) == TooLate(102.0)
    assert decide(replace(deep, left_s=90)) == Queue(51)
    assert decide(replace(deep, left_s=60, turn_s=None)) == Queue(51)
    assert decide(replace(deep, left_s=60, position=1)) == Queue(1)
    assert decide(replace(IDLE, left_s=0.1, turn_s=9.0)) == Run()


def test_a_held_place_is_not_given_away():
    """Who was told to come back has a place; a slot is never held."""
    nearly = replace(BUSY, waiting=98, position=99, held=2)

    assert decide(nearly) == Full()
    assert decide(replace(nearly, promised=True)) == Queue(99)
    assert decide(replace(IDLE, held=50, limit=50)) == Run()


def test_a_promise_holds_in_a_line_that_moves_too_slowly():
    """Who comes in time finds a place, though all are taken; half as many more at most."""
    full = replace(BUSY, waiting=100, position=101, held=20)

    assert decide(full) == Full()
    assert decide(replace(full, promised=True)) == Queue(101)
    assert decide(replace(full, promised=True, waiting=149, position=150)) == Queue(150)
    assert decide(replace(full, promised=True, waiting=150, position=151)) == Full()
    assert decide(replace(full, promised=True, waiting=0, limit=0)) == Full()


@given(
    st.builds(
        Door,
        free_slots=st.integers(0, 8),
        ready_slots=st.integers(0, 8),
        loading_slots=st.integers(0, 8),
        waiting=st.integers(0, 200),
        limit=st.integers(0, 150),
        position=st.integers(1, 201),
        held=st.integers(0, 75),
        promised=st.booleans(),
        turn_s=st.none() | st.floats(0, 3600),
        left_s=st.none() | st.floats(0, 3600),
    )
)
def test_the_queue_never_grows_beyond_its_bound(door):
    """Whatever the load, a place in line is within the limit or will have a slot of its own; what
    was promised may be half as much more."""
    decision = decide(door)

    if isinstance(decision, Queue):
        limit = door.limit + (door.limit // 2 if door.promised else 0)
        assert door.waiting < max(limit, door.loading_slots, door.free_slots, 1)
    if isinstance(decision, Run):
        assert door.free_slots > 0 and door.waiting == 0


def test_waits_are_said_as_they_are():
    """The mean, and the bounds of nine cases of ten; for one start the bound is exact: ln 10."""
    assert expected_wait_s(6, 2.0) == 12.0
    assert within_s(1, 1.0) == pytest.approx(2.303, abs=0.01)
    assert surely_s(1, 5.0) == 0
    assert surely_s(100, 1.0) == pytest.approx(87)


def test_a_line_that_was_not_measured_is_taken_to_be_slow():
    """Slots of one worker share a processor: together as fast as one, until measured."""
    pace = Pace()
    assert pace.turn_s(8, 2) is None
    pace.served(4.0, now=0, slots=8, waited=False)

    assert pace.turn_s(8, 2) == 2.0 and pace.measured == 1
    for _ in range(9):
        pace.served(4.0, now=0, slots=8, waited=False)
    assert pace.turn_s(8, 2) == 2.0 and pace.measured == 4


def test_a_line_is_measured_while_somebody_waits():
    """Starts are counted between ends with all slots busy; pauses are not part of it."""
    pace = Pace()
    pace.served(4.0, now=100, slots=4, waited=True)
    pace.served(4.0, now=103, slots=4, waited=True)
    pace.served(4.0, now=104, slots=4, waited=False)
    pace.served(4.0, now=900, slots=4, waited=True)

    assert pace.turn_s(4, 1) == pytest.approx(2.0)
    assert pace.turn_s(2, 1) == pytest.approx(4.0)


def told(promises, mark, now, turn_s=1.0):
    return promises.refuse(mark, turn_s, most=100, now=now)


def test_each_refusal_names_a_later_time():
    """A hundred who are refused at once are not told to come back at once."""
    promises = Promises()
    times = [told(promises, ("", number), 0.0) for number in range(50)]

    assert times == sorted(times) and times[0] == 3 and 55 <= times[-1] <= 65
    assert promises.held(100, 0.0) == 50 and promises.held(40, 0.0) == 20


def test_a_place_is_held_for_who_comes_in_time():
    """Not before the time, not for long after it, and once."""
    promises = Promises()
    after_s = told(promises, ("x", 0), 0.0, turn_s=4.0)

    assert after_s == 10
    assert not promises.is_due(("x", 0), 9.9) and promises.is_due(("x", 0), 10.0)
    promises.kept(("x", 0), 10.0, beyond=False)
    assert not promises.is_due(("x", 0), 10.0) and promises.held(100, 10.0) == 0
    told(promises, ("y", 0), 20.0, turn_s=4.0)
    assert promises.held(100, 35.0) == 1
    assert promises.held(100, 35.1) == 0


def test_who_comes_too_early_is_told_the_rest():
    """Asking again and again moves nobody's time, neither one's own nor that of others."""
    promises = Promises()
    assert told(promises, ("x", 0), 0.0, turn_s=10.0) == 23
    assert [told(promises, ("x", 0), now, turn_s=10.0) for now in (2, 8, 20.5)] == [21, 15, 3]
    assert len(promises) == 1


def test_equal_requests_at_once_are_several_clients():
    """A benchmark that sends one prompt a hundred times is given a hundred times."""
    promises = Promises()
    for _ in range(5):
        told(promises, ("x", 0), 0.0)

    assert len(promises) == 5


def test_a_broken_promise_makes_the_next_more_careful():
    """Who came in time and was refused is told a short time; the times of all others grow."""
    promises = Promises()
    for number in range(20):
        told(promises, ("", number), 0.0, turn_s=10.0)
    again = told(promises, ("", 0), 24.0, turn_s=10.0)

    assert again == 35
    assert told(promises, ("z", 0), 24.0, turn_s=10.0) > 240 * 1.2


def test_a_place_beyond_the_limit_makes_the_next_more_careful_too():
    """The line was promised too fast a time, though nobody was refused for it."""
    within, beyond = Promises(), Promises()
    for promises in (within, beyond):
        for number in range(20):
            told(promises, ("", number), 0.0, turn_s=10.0)
        promises.kept(("", 0), 24.0, beyond=promises is beyond)

    times = [told(one, ("z", 0), 24.0, turn_s=10.0) for one in (within, beyond)]
    assert times[0] == pytest.approx(times[1] / 1.5, rel=0.03)


def test_the_number_of_promises_is_bounded():
    """A flood of refusals is told the last time and remembered no more."""
    promises = Promises()
    times = [promises.refuse(("", one), 1.0, most=10, now=0.0) for one in range(30)]

    assert len(promises) == 10 and times[9:] == [times[9]] * 21
