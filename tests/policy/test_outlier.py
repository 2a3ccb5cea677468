"""Which worker is slower than its peers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.outlier import SHARE, TABLE, Event, Standing, Times, find, may_hold_back


def measured(first_token_s=(), gap_s=()):
    times = Times()
    for value in first_token_s:
        times.add(value, None)
    for value in gap_s:
        times.add(None, value)
    return times


def lane(*medians, what="first_token_s"):
    return {f"w{number}": measured(**{what: [one] * 4}) for number, one in enumerate(medians)}


@pytest.mark.parametrize("what", ["first_token_s", "gap_s"])
def test_more_than_three_times_slower_than_three_peers(what):
    """Judged by the time to the first token, and by the gap between tokens."""
    found = find(lane(0.2, 0.3, 0.4, 1.0, what=what))

    assert [one for one, slow in found.items() if slow] == ["w3"]
    assert found["w3"].own_s == 1.0 and found["w3"].peers_s == 0.3
    assert not any(find(lane(0.2, 0.3, 0.4, 0.85, what=what)).values())


def test_fewer_than_three_peers_judge_nobody():
    """Two that differ: who is to say which one is right?"""
    assert find(lane(0.1, 0.1, 9.0)) == {}


def test_few_answers_say_nothing():
    """Three answers are no measurement."""
    workers = {**lane(0.2, 0.2, 0.2), "new": measured(first_token_s=[9.0] * 3)}

    assert find(workers) == {}


def test_one_slow_answer_among_many_is_forgiven():
    """It is the median that is compared: one long prompt is no slow worker."""
    workers = {**lane(0.2, 0.2, 0.2), "w9": measured(first_token_s=[0.2, 0.2, 0.2, 9.0, 9.0][:4])}

    assert not any(find(workers).values())


@given(st.lists(st.floats(0.001, 100), min_size=4, max_size=20))
def test_never_all_are_slow(values):
    """The median of the others bounds it: fewer than half of a lane can ever be called slow."""
    found = find(lane(*values))

    assert sum(slow is not None for slow in found.values()) <= len(values) / 2


@pytest.mark.parametrize(("held", "workers", "may"), [(0, 3, True), (0, 2, False), (1, 5, False)])
def test_the_last_ones_always_serve(held, workers, may):
    """At most a third of a model's workers is held back."""
    assert may_hold_back(held, workers) is may


def test_less_then_nothing_then_another_chance():
    """The way down and back, and no standing without a way out."""
    standing = Standing.FAIR
    for event, after in (
        (Event.SLOW, Standing.LESS),
        (Event.SLOW, Standing.NOTHING),
        (Event.FAIR, Standing.NOTHING),
        (Event.WAITED, Standing.LESS),
        (Event.FAIR, Standing.FAIR),
    ):
        standing = TABLE[standing, event]
        assert standing is after
    assert [SHARE[one] for one in Standing] == [1.0, 0.25, 0.0]
