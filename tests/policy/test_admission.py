"""The door of one model."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.admission import Door, Queue, Refuse, Run, decide, expected_wait_s, retry_after_s

IDLE = Door(free_slots=2, ready_slots=4, loading_slots=4, waiting=0, limit=100, mean_service_s=2.0)


def test_a_free_slot_and_no_line_runs_at_once():
    """Nobody queues in front of an idle model."""
    assert decide(IDLE) == Run()


def test_a_full_model_queues_at_the_next_place():
    """The place told is the place taken."""
    assert decide(replace(IDLE, free_slots=0, waiting=3)) == Queue(4)


def test_a_queue_of_zero_refuses_when_no_slot_is_free():
    """4 slots, 3 busy, two at once and no queue: one is served and one is refused."""
    assert decide(replace(IDLE, free_slots=1, limit=0)) == Run()
    assert isinstance(decide(replace(IDLE, free_slots=0, limit=0)), Refuse)


def test_a_queue_of_zero_still_lets_a_model_load_on_demand():
    """While nothing is ready, those who will have a slot may wait for the loading."""
    loading = replace(IDLE, free_slots=0, ready_slots=0, limit=0)

    assert decide(loading) == Queue(1)
    assert decide(replace(loading, waiting=3)) == Queue(4)
    assert isinstance(decide(replace(loading, waiting=4)), Refuse)


def test_a_refusal_names_the_measured_time():
    """Four slots of 8 s each free a place every 2 s."""
    full = replace(IDLE, free_slots=0, waiting=100, mean_service_s=8.0)

    assert decide(full) == Refuse(2)
    assert expected_wait_s(6, 4, 8.0) == 12.0


@given(
    st.builds(
        Door,
        free_slots=st.integers(0, 8),
        ready_slots=st.integers(0, 8),
        loading_slots=st.integers(0, 8),
        waiting=st.integers(0, 200),
        limit=st.integers(0, 150),
        mean_service_s=st.floats(0, 3600),
    )
)
def test_the_queue_never_grows_beyond_its_bound(door):
    """Whatever the load, a place in line is within the limit or will have a slot of its own."""
    decision = decide(door)

    if isinstance(decision, Queue):
        assert decision.position <= max(door.limit, door.loading_slots, door.free_slots, 1)
    if isinstance(decision, Refuse):
        assert decision.retry_after_s == retry_after_s(door) >= 1
