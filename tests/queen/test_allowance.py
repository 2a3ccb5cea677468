"""What each key has used of its limits; the time is an argument."""

import pytest

from rbee.errors import RbeeError
from rbee.policy.keys import NOBODY, Caller, KeyLimits
from rbee.queen.allowance import Allowances

USAGE = b'{"usage":{"prompt_tokens":30,"completion_tokens":20}}'


def of(**limits: int) -> Caller:
    return Caller("k1", ("infer",), KeyLimits(**limits))


def refused(allowances: Allowances, caller: Caller, now: float, estimate: int = 1) -> RbeeError:
    with pytest.raises(RbeeError) as raised:
        allowances.enter(caller, lambda: estimate, now)
    assert raised.value.code == "RATE_LIMITED"
    return raised.value


def tokens_left(allowances: Allowances, caller: Caller, now: float) -> int:
    return int(dict(allowances.headers(caller, now))["x-ratelimit-remaining-tokens"])


def test_without_limits_nothing_is_kept() -> None:
    """Neither for nobody nor for a key that may ask as much as it likes."""
    allowances = Allowances()
    for caller in (NOBODY, of()):
        assert allowances.enter(caller, lambda: 1 // 0, 0.0) is None
        assert allowances.headers(caller, 0.0) == []


def test_the_wait_that_is_told_is_enough() -> None:
    """For requests and for tokens."""
    for caller in (of(rpm=3), of(tpm=300)):
        allowances = Allowances()
        for _ in range(3):
            assert allowances.enter(caller, lambda: 100, 10.0)
        wait_s = refused(allowances, caller, 10.0, 100).report.details["retry_after_s"]
        assert wait_s == 20
        assert allowances.enter(caller, lambda: 100, 10.0 + wait_s)


def test_a_refusal_takes_nothing() -> None:
    """A request that its tokens stop does not count as a request either."""
    allowances, caller = Allowances(), of(rpm=2, tpm=100)
    assert allowances.enter(caller, lambda: 100, 0.0)
    for _ in range(5):
        assert refused(allowances, caller, 0.0, 50).report.details["what"] == "tokens a minute"
    assert dict(allowances.headers(caller, 0.0))["x-ratelimit-remaining-requests"] == "1"


@pytest.mark.parametrize(
    ("data", "served", "left"),
    [(USAGE, True, 950), (b"{}", True, 600), (b"{}", False, 1000), (USAGE, False, 950)],
)
def test_tokens_are_settled(data: bytes, served: bool, left: int) -> None:
    """By the engine's count; without one, by the estimate if an answer went out."""
    allowances, caller = Allowances(), of(tpm=1000)
    place = allowances.enter(caller, lambda: 400, 100.0)
    assert place is not None
    assert tokens_left(allowances, caller, 100.0) == 600
    place.count(data)
    for _ in range(2):  # said twice, it counts once
        place.leave(100.0, served=served)
    assert tokens_left(allowances, caller, 100.0) == left


def test_a_whole_answer_without_numbers_took_no_tokens() -> None:
    """Tokenizing is a request, and makes none."""
    allowances, caller = Allowances(), of(tpm=1000)
    place = allowances.enter(caller, lambda: 400, 100.0)
    assert place is not None
    place.count(b'{"tokens":[1,2]}', whole=True)
    place.leave(100.0, served=True)
    assert tokens_left(allowances, caller, 100.0) == 1000


def test_events_of_one_answer_are_not_added_up() -> None:
    """Anthropic tells the prompt first, and the answer's tokens again and again."""
    allowances, caller = Allowances(), of(tpm=1000)
    place = allowances.enter(caller, lambda: 400, 100.0)
    assert place is not None
    place.count(b'{"message":{"usage":{"input_tokens":30,"output_tokens":1}}}')
    place.count(b'{"usage":{"output_tokens":5}}')
    place.count(b'{"usage":{"output_tokens":20}}')
    place.leave(100.0, served=True)
    assert tokens_left(allowances, caller, 100.0) == 950


def test_requests_at_once_end_by_the_mean() -> None:
    """The wait is when the oldest should be over; a place that is left is free at once."""
    allowances, caller = Allowances(), of(concurrent=1)
    now = 0.0
    for _ in range(40):
        place = allowances.enter(caller, lambda: 1, now)
        assert place is not None
        now += 10
        place.leave(now, served=True)
    place = allowances.enter(caller, lambda: 1, now)
    assert refused(allowances, caller, now + 4).report.details["retry_after_s"] in (6, 7)
    assert refused(allowances, caller, now + 99).report.details["retry_after_s"] == 1
    assert place is not None
    place.leave(now + 5, served=False)
    assert allowances.enter(caller, lambda: 1, now + 5)


def test_a_key_that_is_gone_leaves_nothing() -> None:
    """And what still runs under it ends without harm."""
    allowances, caller = Allowances(), of(rpm=1)
    place = allowances.enter(caller, lambda: 1, 0.0)
    allowances.forget("k1")
    assert allowances.headers(caller, 0.0) == []
    assert place is not None
    place.leave(1.0, served=True)
