"""When a distant rbee is left alone."""

from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.dial_breaker import CLEAR, OPENS_AFTER, Dial, Hold, Line, decide, failed

OPEN_S = 60.0


def after(*times: float) -> Line:
    line = CLEAR
    for at in times:
        line = failed(line, at)
    return line


def test_four_failures_are_borne_and_the_fifth_is_not() -> None:
    """The wait that is told is the one that is left."""
    assert isinstance(decide(after(1, 2, 3, 4), 5, open_s=OPEN_S), Dial)
    assert decide(after(1, 2, 3, 4, 5), 15, open_s=OPEN_S) == Hold(5, 50)


def test_after_a_minute_exactly_one_is_let_through() -> None:
    """Whoever comes while that one dials is held back for another minute."""
    line = after(1, 2, 3, 4, 5)
    found = decide(line, 65, open_s=OPEN_S)
    assert isinstance(found, Dial) and found.trial
    assert decide(found.line, 66, open_s=OPEN_S) == Hold(5, 59)
    assert isinstance(decide(failed(found.line, 67), 100, open_s=OPEN_S), Hold)


def test_failures_far_apart_are_not_in_a_row() -> None:
    """A bad minute each day opens nothing."""
    assert after(0, 1000, 2000, 3000, 4000, 5000) == Line(1, 5000)


def test_a_reboot_begins_anew() -> None:
    """Times of an earlier boot lie ahead of the clock."""
    line = Line(OPENS_AFTER, 90_000.0)
    assert decide(line, 30.0, open_s=OPEN_S) == Dial(CLEAR)
    assert failed(line, 30.0) == Line(1, 30.0)


@given(st.lists(st.floats(0, 200), max_size=60))
def test_nobody_is_held_for_longer_than_the_limit(gaps: list[float]) -> None:
    """Whatever happens, the next dial is at most a minute away."""
    line, now = CLEAR, 1000.0
    for gap_s in gaps:
        now += gap_s
        found = decide(line, now, open_s=OPEN_S)
        if isinstance(found, Hold):
            assert 0 < found.wait_s <= OPEN_S
            assert line.failures >= OPENS_AFTER
        else:
            line = failed(found.line, now)
