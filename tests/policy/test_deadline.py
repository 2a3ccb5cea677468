"""A deadline is set once and told as what is left."""

import pytest

from rbee.policy.deadline import Deadline


def test_no_time_set_is_no_deadline():
    """Long prefills at home are honest work."""
    assert Deadline.after(0.0, now=5.0) is None


@pytest.mark.parametrize(
    ("now", "left_s", "passed"),
    [(100.0, 2.5, False), (101.0, 1.5, False), (102.4996, 0.0, False), (102.5, 0.0, True)],
)
def test_what_is_left_is_told_in_milliseconds_and_never_too_much(now, left_s, passed):
    """A hop gets what is left, rounded down; none is ever given back."""
    deadline = Deadline.after(2.5, now=100.0)

    assert deadline.left_s(now) == left_s and deadline.passed(now) is passed
    assert deadline.left_s(1e9) == 0.0
