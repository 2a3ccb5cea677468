"""Promises about what follows from a self-test."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.selftest import (
    FEWEST_DIFFERENT,
    KEPT,
    TOKENS,
    Answer,
    File,
    Seen,
    Verdict,
    again,
    decide,
    key,
    of_refusal,
    of_tokens,
    of_vector,
)

SOUND, OTHER = Answer((1, 2, 3)), Answer((1, 2, 4))
RUBBISH = Answer((6, 6, 6), "1 different tokens in 8")
ALL = [
    Seen(*one)
    for one in itertools.product(
        (SOUND, OTHER, RUBBISH),
        (None, SOUND, RUBBISH),
        File,
        (True, False),
        (True, False),
        (True, False),
    )
]
SERVED = {verdict for verdict in Verdict if verdict.name.startswith("SERVE")}


def _seen(
    last: Answer, golden: Answer | None = None, file: File = File.UNREAD, **how: bool
) -> Seen:
    facts = {"vouched": False, "accelerated": False, "trusted": False, **how}
    return Seen(last=last, golden=golden, file=file, **facts)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (_seen(SOUND, SOUND), Verdict.SERVE),
        (_seen(SOUND), Verdict.SERVE_FIRST),
        (_seen(OTHER, SOUND), Verdict.HASH_AGAIN),
        (_seen(OTHER, SOUND, File.BAD), Verdict.REFUSE_FILE),
        (_seen(OTHER, SOUND, File.GOOD), Verdict.SERVE_CHANGED),
        (_seen(RUBBISH), Verdict.HASH_AGAIN),
        (_seen(RUBBISH, file=File.BAD, trusted=True), Verdict.REFUSE_FILE),
        (_seen(RUBBISH, file=File.GOOD), Verdict.REFUSE),
        (_seen(RUBBISH, file=File.GOOD, trusted=True), Verdict.SERVE_TRUSTED),
        (_seen(RUBBISH, file=File.GOOD, vouched=True), Verdict.SERVE_NATURE),
        (_seen(RUBBISH, RUBBISH, vouched=True), Verdict.SERVE_NATURE),
        (_seen(RUBBISH, file=File.GOOD, vouched=True, accelerated=True), Verdict.NEXT_DEVICE),
        (_seen(RUBBISH, file=File.GOOD, accelerated=True), Verdict.REFUSE),
        (_seen(RUBBISH, SOUND, File.GOOD, vouched=True), Verdict.REFUSE),
        (_seen(SOUND, RUBBISH, File.GOOD, vouched=True), Verdict.SERVE_CHANGED),
    ],
)
def test_the_table(seen: Seen, verdict: Verdict) -> None:
    """Each rule of the design, by an example."""
    assert decide(seen) is verdict


@pytest.mark.parametrize("seen", ALL, ids=str)
def test_every_combination_is_decided_and_safely(seen: Seen) -> None:
    """What is known to be damaged is never served; rubbish only with a reason; once a file is
    hashed it is not hashed again; nothing is golden but a sound answer or a proven nature."""
    verdict = decide(seen)
    rubbish = bool(seen.last.flaw)
    assert isinstance(verdict, Verdict)
    if seen.file is File.BAD:
        assert verdict is Verdict.REFUSE_FILE
    if seen.file is not File.UNREAD:
        assert verdict is not Verdict.HASH_AGAIN
    if rubbish and verdict in SERVED:
        assert seen.trusted or seen.vouched
    if rubbish and verdict in KEPT:
        assert seen.vouched and not seen.accelerated
    if not rubbish and seen.file is File.GOOD:
        assert verdict in SERVED
    if verdict is Verdict.NEXT_DEVICE:
        assert seen.accelerated


@pytest.mark.parametrize("seen", ALL, ids=str)
def test_trust_never_takes_anything_away(seen: Seen) -> None:
    """Whoever is served without --trust is served with it, in the same way."""
    plain = Seen(seen.last, seen.golden, seen.file, seen.vouched, seen.accelerated, trusted=False)
    trusted = Seen(seen.last, seen.golden, seen.file, seen.vouched, seen.accelerated, trusted=True)
    if decide(plain) is not decide(trusted):
        assert (decide(plain), decide(trusted)) == (Verdict.REFUSE, Verdict.SERVE_TRUSTED)


def test_only_what_is_odd_is_run_again() -> None:
    """A first sound answer and an expected one cost one run; everything else two."""
    assert not again(SOUND, None) and not again(SOUND, SOUND) and not again(RUBBISH, RUBBISH)
    assert again(RUBBISH, None) and again(OTHER, SOUND) and again(RUBBISH, SOUND)


@given(st.lists(st.integers(0, 5), max_size=TOKENS))
def test_few_different_tokens_are_rubbish(ids: list[int]) -> None:
    """Fewer than three different ones in eight are said with their number."""
    answer = of_tokens(ids, [-0.1] * len(ids), b"text")
    assert bool(answer.flaw) == (len(set(ids)) < FEWEST_DIFFERENT)
    assert answer.tokens == tuple(ids)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_rubbish(value: float | None) -> None:
    """NaN comes as null from the engine, and spoils tokens and vectors alike."""
    assert "NaN" in of_tokens(range(8), [-0.1] * 7 + [value], b"text").flaw
    assert "NaN" in of_vector([0.1, 0.2, 0.3, value]).flaw


@pytest.mark.parametrize(
    ("text", "sound"), [(b"a\xc3\xa9", True), (b"a\xc3", True), (b"\xff", False)]
)
def test_text_is_utf8_to_its_cut(text: bytes, sound: bool) -> None:
    """A character cut by the eighth token is nobody's fault; bytes that are none are."""
    assert (of_tokens(range(8), [-0.1] * 8, text).flaw == "") is sound


@given(st.lists(st.floats(-1, 1), min_size=8, max_size=32))
def test_vectors_are_told_apart_in_steps(numbers: list[float]) -> None:
    """Equal vectors are equal answers; one whose numbers are alike says nothing."""
    assert of_vector(numbers) == of_vector(list(numbers))
    assert of_vector([0.0] * 8).flaw and of_vector([]).flaw
    assert len(of_vector(numbers).tokens) == 8


def test_an_engine_that_does_not_answer_is_no_sound_one() -> None:
    """What it did instead is the flaw."""
    assert of_refusal("the engine answered 500").flaw == "the engine answered 500"


def test_a_vector_of_few_numbers_may_be_alike() -> None:
    """A model that ranks gives one number: it is finite, and that is all it can show."""
    assert not of_vector([0.5]).flaw


def test_a_key_is_the_same_whatever_the_order() -> None:
    """Facts in another order are the same key; another fact is another key."""
    assert key({"a": "1", "b": "2"}) == key({"b": "2", "a": "1"}) != key({"a": "1", "b": "3"})
