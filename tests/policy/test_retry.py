"""When a distant rbee is dialled again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.retry import TRIES, delay_s


@given(st.integers(1, TRIES), st.floats(0, 1, exclude_max=True))
def test_pauses_double_and_are_spread(attempt: int, roll: float) -> None:
    """1, 2, 4, 8, 16 s, each times 0.5 to 1.5, as the dice fall."""
    pause_s = delay_s(attempt, roll)
    assert pause_s is not None
    assert pause_s / 2 ** (attempt - 1) == pytest.approx(0.5 + roll)


def test_after_five_tries_it_gives_up() -> None:
    """Nobody waits for ever."""
    assert delay_s(TRIES + 1, 0.5) is None
