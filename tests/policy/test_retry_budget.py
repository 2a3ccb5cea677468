"""Retries are bounded by traffic."""

from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.retry_budget import SHARE, WINDOW_S, RetryBudget

FLOOR = 10
PAUSES_S = st.sampled_from([0.0, 0.1, 1.0, 7.3, 20.0, WINDOW_S])
"""Short ones above all: only then more is asked for than a minute has."""


def test_ten_a_minute_are_always_there():
    """A small rbee may retry, too."""
    budget = RetryBudget(FLOOR)

    assert [budget.take(1.0) for _ in range(11)] == [True] * 10 + [False]


def test_a_fifth_of_the_traffic_is():
    """Of 100 requests 20 may be tried again."""
    budget = RetryBudget(FLOOR)
    for _ in range(100):
        budget.requested(1.0)

    assert sum(budget.take(2.0) for _ in range(50)) == 20


def test_a_worker_that_takes_many_answers_with_it_is_repaired():
    """Of 30 answers in work all may go on, though hardly any began in this minute."""
    budget = RetryBudget(FLOOR)

    assert sum(budget.take(1.0, in_work=30) for _ in range(60)) == 30
    assert not RetryBudget(0).take(1.0, in_work=30)


def test_none_at_all_can_be_asked_for():
    """A floor of 0 and hardly any traffic: the first fault is told."""
    budget = RetryBudget(0)
    budget.requested(1.0)

    assert not budget.take(1.0)


def test_a_minute_later_it_is_full_again():
    """What is older than the window counts no more."""
    budget = RetryBudget(FLOOR)
    while budget.take(0.0):
        continue

    assert not budget.take(WINDOW_S - 0.1)
    assert budget.take(WINDOW_S)


def test_traffic_of_an_hour_ago_allows_nothing():
    """Requests that began before the window are no reason to try anything again."""
    budget = RetryBudget(0)
    for number in range(1000):
        budget.requested(number / 100)

    assert not budget.take(3600.0)


def test_much_traffic_takes_no_memory():
    """A hundred thousand requests in a minute are a few hundred numbers, and a fifth may be tried
    again all the same."""
    budget = RetryBudget(0)
    for number in range(100_000):
        budget.requested(number * WINDOW_S / 100_000)

    assert len(budget._spans) <= 2 * WINDOW_S
    assert sum(budget.take(WINDOW_S - 1) for _ in range(30_000)) == 20_000


@given(st.lists(st.tuples(st.booleans(), PAUSES_S), min_size=30, max_size=80))
def test_no_minute_has_more(steps):
    """Whatever the traffic, no window holds more retries than a fifth of it, or ten."""
    budget, now = RetryBudget(FLOOR), 0.0
    requests: list[float] = []
    retries: list[float] = []
    for is_retry, pause_s in steps:
        now += pause_s
        if not is_retry:
            budget.requested(now)
            requests.append(now)
        elif budget.take(now):
            retries.append(now)
            recent = sum(at > now - WINDOW_S for at in retries)
            traffic = sum(at > now - WINDOW_S for at in requests)
            assert recent <= max(FLOOR, SHARE * traffic)
