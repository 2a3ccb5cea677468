"""How long lines may be while memory is short."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.pressure import Bound, Memory, judge

SHORT, FINE = Memory(some_avg10_percent=21.0), Memory(0.0, 0.5)


@pytest.mark.parametrize(
    ("memory", "short"),
    [
        (Memory(20.0, 0.5), False),
        (Memory(20.1, 0.5), True),
        (Memory(0.0, 0.049), True),
        (Memory(0.0, 0.05), False),
        (Memory(None, 0.04), True),
        (Memory(None, 0.06), False),
        (Memory(), False),
    ],
)
def test_the_signs(memory, short):
    """More than 20 % of stalls, or less than 5 % available; without PSI the second alone."""
    assert bool(memory.short) is short


def test_a_sign_halves_and_calm_gives_back_one_place_in_5_s():
    """The rule, step by step."""
    bound = judge(Bound(100), SHORT, full=100, now=0)
    assert bound.limit == 50
    assert judge(bound, SHORT, full=100, now=5).limit == 50
    bound = judge(bound, SHORT, full=100, now=10)
    assert bound.limit == 25
    for now, limit in ((12, 25), (15, 26), (24.9, 27), (25, 28), (1000, 100)):
        bound = judge(bound, FINE, full=100, now=now)
        assert bound.limit == limit


@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.floats(0, 60), st.sampled_from([SHORT, FINE])), max_size=60),
)
def test_the_bound_is_always_between_one_and_the_whole(full, steps):
    """Memory never closes the door, and calm never opens it wider than a person said."""
    bound, now = Bound(full), 0.0
    for pause_s, memory in steps:
        now += pause_s
        bound = judge(bound, memory, full=full, now=now)
        assert min(1, full) <= bound.limit <= full
