"""When a source is asked again, and what its answers mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.fetching import (
    FIRST_S,
    FLOOR_BYTES_PER_S,
    GAIN_BYTES,
    LONGEST_WAIT_S,
    TRIES,
    Changed,
    Fault,
    NextSource,
    Part,
    Wait,
    Whole,
    decide,
    judge,
    retry_after_s,
    strong_etag,
    trickles,
)
from rbee.wire.ranges import Span

DICE = st.floats(0, 1, exclude_max=True)
FAULT = Fault("SOURCE_BROKEN", "it answers 500", again=True)


@given(st.integers(0, TRIES - 1), DICE)
def test_pauses_double_and_are_spread(tries, dice):
    """0.1, 0.2 … 3.2 s, each times 0.5 to 1.5."""
    found = decide(FAULT, tries=tries, gained_bytes=0, dice=dice)

    assert isinstance(found, Wait) and found.tries == tries + 1
    assert 0.5 * FIRST_S * 2**tries <= found.after_s <= 1.5 * FIRST_S * 2**tries


@given(st.lists(st.tuples(st.integers(0, 4 * GAIN_BYTES), DICE), max_size=50))
def test_a_source_is_left_after_six_tries_that_won_nothing(falls):
    """However a line fails: a source goes on exactly as long as 1 MiB comes within six tries."""
    tries = empty = 0
    for gained_bytes, dice in falls:
        empty = 0 if gained_bytes >= GAIN_BYTES else empty + 1
        found = decide(FAULT, tries=tries, gained_bytes=gained_bytes, dice=dice)
        if isinstance(found, NextSource):
            assert tries == TRIES and gained_bytes < GAIN_BYTES
            return
        tries = found.tries
        assert tries in (empty, empty + 1)


@given(st.integers(0, TRIES), st.integers(0, GAIN_BYTES * 2), DICE)
def test_what_stays_as_it_is_is_not_asked_again(tries, gained_bytes, dice):
    """A 404 is a 404: the next source at once."""
    lasting = Fault("SOURCE_NOT_FOUND", "it answers 404", again=False)
    assert decide(lasting, tries=tries, gained_bytes=gained_bytes, dice=dice) == NextSource()


@given(st.integers(0, TRIES - 1), st.floats(0, LONGEST_WAIT_S), DICE)
def test_a_source_is_never_asked_before_it_wants_to_be(tries, wait_s, dice):
    """Retry-After is a lower bound, and no wait is longer than a minute."""
    found = decide(
        Fault("SOURCE_RATE_LIMITED", "it answers 429", again=True, wait_s=wait_s),
        tries=tries,
        gained_bytes=0,
        dice=dice,
    )
    assert isinstance(found, Wait) and wait_s <= found.after_s <= LONGEST_WAIT_S


DATE = "Tue, 15 Nov 1994 08:12:31 GMT"


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "86400"}, LONGEST_WAIT_S),
        ({"retry-after": "Tue, 15 Nov 1994 08:12:41 GMT", "date": DATE}, 10.0),
        ({"retry-after": "Tue, 15 Nov 1994 08:12:01 GMT", "date": DATE}, 0.0),
        ({"retry-after": DATE}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, wait_s):
    """Both forms, bounded; a date counts from the answer's own clock."""
    assert retry_after_s(headers) == wait_s


@given(st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text(max_size=60)))
def test_no_retry_after_makes_us_fall_over_or_wait_for_ever(headers):
    """Whatever a server writes there, the wait is between nothing and a minute."""
    assert 0.0 <= retry_after_s(headers) <= LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("etag", "strong"),
    [('"a"', '"a"'), ('W/"a"', ""), ("a", ""), ("", ""), ('"a" "b"', ""), ('"a b"', "")],
)
def test_only_a_strong_etag_vouches_for_bytes(etag, strong):
    """A weak one says that pages look alike, not that bytes are equal."""
    assert strong_etag({"etag": etag}) == strong


RANGE = {"content-range": "bytes 10-19/100", "content-length": "10"}
ASKED = Span(10, 20)


@pytest.mark.parametrize(
    ("status", "headers", "meaning"),
    [
        (206, RANGE, Part()),
        (206, {**RANGE, "etag": '"v1"'}, Part()),
        (206, {**RANGE, "etag": '"v2"'}, Changed),
        (206, {**RANGE, "content-type": "text/html"}, "SOURCE_BROKEN"),
        (206, {"content-range": "bytes 0-9/100"}, "SOURCE_BROKEN"),
        (200, {"content-length": "100"}, Whole(100, "")),
        (200, {"content-length": "100", "etag": '"v1"'}, Whole(100, '"v1"')),
        (200, {}, Whole(0, "")),
        (200, {"content-length": "100", "etag": '"v2"'}, Changed),
        (200, {"content-length": "99"}, "SOURCE_BROKEN"),
        (200, {"content-length": "100", "content-encoding": "gzip"}, "SOURCE_BROKEN"),
        (200, {"content-type": "Text/HTML; charset=utf-8"}, "SOURCE_BROKEN"),
        (412, {}, Changed),
        (416, {"content-range": "bytes */50"}, Changed),
        (401, {}, "SOURCE_FORBIDDEN"),
        (403, {}, "SOURCE_FORBIDDEN"),
        (404, {}, "SOURCE_NOT_FOUND"),
        (429, {"retry-after": "3"}, "SOURCE_RATE_LIMITED"),
        (500, {}, "SOURCE_BROKEN"),
        (503, {"retry-after": "3"}, "SOURCE_BROKEN"),
        (400, {}, "SOURCE_BROKEN"),
        (304, {}, "SOURCE_BROKEN"),
    ],
)
def test_each_answer_has_its_meaning(status, headers, meaning):
    """A part, the whole, another file, or a fault with its code."""
    found = judge(status, headers, asked=ASKED, size_bytes=100, validator='"v1"')

    if isinstance(meaning, str):
        assert isinstance(found, Fault) and found.code == meaning
        assert found.wait_s == (3.0 if "retry-after" in headers else 0.0)
    elif isinstance(meaning, type):
        assert isinstance(found, meaning)
    else:
        assert found == meaning


@pytest.mark.parametrize(
    ("status", "again"),
    [(500, True), (502, True), (503, True), (408, True), (429, True), (403, False), (404, False)],
)
def test_what_may_pass_is_asked_again(status, again):
    """A burst of 500 passes; a refusal stays."""
    found = judge(status, {}, asked=ASKED, size_bytes=100, validator="")
    assert isinstance(found, Fault) and found.again is again


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["etag", "content-range", "content-length", "content-type", "retry-after"]),
        st.text(max_size=30),
    ),
)
def test_no_answer_is_without_a_meaning(status, headers):
    """Whatever comes, there is something to do; bytes are taken from a right 200 or 206 only."""
    found = judge(status, headers, asked=ASKED, size_bytes=100, validator='"v1"')
    if isinstance(found, Part):
        assert status == 206
    if isinstance(found, Whole):
        assert status == 200


def test_a_trickle_is_told_from_a_slow_line():
    """Below the floor for a whole window: no; a slow modem, or too early to say: let it be."""
    assert trickles(100 * 59, 60.0, 60.0)
    assert not trickles(FLOOR_BYTES_PER_S * 60, 60.0, 60.0)
    assert not trickles(0, 59.0, 60.0)
