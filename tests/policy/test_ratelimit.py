"""How much a key may ask in a minute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.ratelimit import (
    Taken,
    Wait,
    estimate,
    left,
    reset_text,
    settled,
    take,
    whole_s,
)

LIMITS = st.integers(1, 10_000)


def took(full_at: float, now: float, limit: int, cost: float = 1.0) -> float:
    found = take(full_at, now, limit=limit, cost=cost)
    assert isinstance(found, Taken)
    return found.full_at


@given(st.integers(1, 500))
def test_a_minutes_worth_at_once_and_not_one_more(limit: int) -> None:
    """Who was quiet may ask all of it in one instant."""
    full_at = 0.0
    for number in range(limit):
        assert left(full_at, 1000.0, limit=limit) == limit - number
        full_at = took(full_at, 1000.0, limit)
    assert isinstance(take(full_at, 1000.0, limit=limit), Wait)
    assert left(full_at, 1000.0, limit=limit) == 0


@given(
    LIMITS,
    st.lists(st.tuples(st.floats(0, 30), st.floats(0.5, 400)), min_size=1, max_size=80),
)
def test_whoever_waits_as_told_gets_in(limit: int, asks: list[tuple[float, float]]) -> None:
    """The wait is enough, and a little less is not."""
    full_at, now = 0.0, 1e6
    for pause_s, cost in asks:
        now += pause_s
        found = take(full_at, now, limit=limit, cost=cost)
        if isinstance(found, Wait):
            assert found.wait_s > 0
            assert isinstance(take(full_at, now + found.wait_s / 2, limit=limit, cost=cost), Wait)
            now += found.wait_s
            found = take(full_at, now, limit=limit, cost=cost)
        assert isinstance(found, Taken)
        full_at = found.full_at


@given(LIMITS, st.lists(st.floats(0, 10), min_size=1, max_size=300))
def test_no_minute_sees_more_than_twice_the_limit(limit: int, pauses: list[float]) -> None:
    """A full bucket and what flows back in that minute: the bound of a token bucket."""
    full_at, now, taken = 0.0, 1e6, []
    for pause_s in pauses:
        now += pause_s
        found = take(full_at, now, limit=limit)
        if isinstance(found, Taken):
            full_at = found.full_at
            taken.append(now)
    for start in taken:
        assert sum(start <= at < start + 60 for at in taken) <= 2 * limit


def test_a_request_larger_than_the_limit_needs_a_full_bucket() -> None:
    """It is not refused for ever; what it used beyond is paid afterwards."""
    full_at = took(0.0, 1000.0, 100, cost=5000)
    assert isinstance(take(full_at, 1000.0, limit=100, cost=1), Wait)
    full_at = settled(full_at, limit=100, reserved=5000, used=300)
    found = take(full_at, 1000.0, limit=100, cost=1)
    assert isinstance(found, Wait) and found.wait_s == pytest.approx(120.6)


@given(LIMITS, st.floats(0, 1e4), st.floats(0, 1e4))
def test_the_true_cost_counts_in_the_end(limit: int, reserved: float, used: float) -> None:
    """Reserving and settling comes to the same as having known it."""
    taken = take(0.0, 1e6, limit=limit, cost=reserved)
    assert isinstance(taken, Taken)
    full_at = settled(taken.full_at, limit=limit, reserved=reserved, used=used)
    assert full_at == pytest.approx(1e6 + used * 60 / limit)


def test_an_estimate_is_the_text_and_the_answer_it_allows() -> None:
    """Whatever the dialect calls the length of an answer; odd values count as none."""
    assert estimate(400, {"max_tokens": 10}) == 110
    assert estimate(400, {"max_completion_tokens": 20}) == 120
    assert estimate(400, {"max_output_tokens": 30}) == 130
    assert estimate(400, {}) == estimate(400, {"max_tokens": None}) == 356
    assert estimate(0, {"max_tokens": True}) == estimate(0, {"max_tokens": -1}) == 257


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (0.0001, "1ms"),
        (0.02, "20ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.9, "59.9s"),
        (60, "1m0s"),
        (360.2, "6m0s"),
        (3700, "1h1m40s"),
    ],
)
def test_times_look_like_those_of_openai(seconds: float, text: str) -> None:
    """Clients parse `6m0s`, `1.5s`, `20ms`."""
    assert reset_text(seconds) == text


def test_seconds_are_rounded_up() -> None:
    """1.2 s become 2, as 1 would be too early."""
    assert [whole_s(wait_s) for wait_s in (0.001, 1.0, 1.2, 119.5)] == [1, 1, 2, 120]
