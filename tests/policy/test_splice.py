"""How a broken answer is taken up again, as a table of cases."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.splice import (
    Continue,
    Cut,
    Death,
    Refuse,
    Replay,
    decide,
    exact_possible,
    is_poison,
    runs_cold,
)
from rbee.wire.transcript import Conditions

TEXT = Cut(
    plain=True,
    sampled=False,
    exact_asked=False,
    delivered_tokens=20,
    continued=False,
    diverged=False,
    unwilling=False,
    exact_possible=True,
    tokens_per_s=50.0,
)
FIRST = Conditions("sha256:a", "b1", "cpu", "s")


@pytest.mark.parametrize(
    ("facts", "way"),
    [
        ({}, Replay(exact=True)),
        ({"delivered_tokens": 0, "exact_possible": False}, Replay(exact=False)),
        ({"exact_possible": False}, Continue()),
        ({"delivered_tokens": 100}, Replay(exact=True)),
        ({"delivered_tokens": 101}, Continue()),
        ({"delivered_tokens": 101, "tokens_per_s": 0.0}, Replay(exact=True)),
        ({"delivered_tokens": 101, "sampled": True}, Replay(exact=True)),
        ({"delivered_tokens": 501, "sampled": True}, Continue()),
        ({"delivered_tokens": 501, "exact_asked": True}, Replay(exact=True)),
        ({"diverged": True}, Continue()),
        ({"continued": True}, Continue()),
        ({"exact_possible": False, "unwilling": True}, Replay(exact=False)),
        ({"plain": False, "delivered_tokens": 5000}, Replay(exact=True)),
        ({"plain": False, "exact_possible": False}, Replay(exact=False)),
    ],
)
def test_how_an_answer_is_taken_up(facts, way):
    """Plain text is replayed where that is exact and quick, else continued; else replayed."""
    assert decide(replace(TEXT, **facts)) == way


@pytest.mark.parametrize(
    "facts",
    [
        {"exact_asked": True, "exact_possible": False},
        {"exact_asked": True, "diverged": True},
        {"exact_asked": True, "continued": True},
        {"plain": False, "diverged": True},
        {"continued": True, "unwilling": True},
    ],
)
def test_what_cannot_be_taken_up_is_refused(facts):
    """Nobody gets two halves that do not belong together."""
    assert isinstance(decide(replace(TEXT, **facts)), Refuse)


@given(
    st.builds(
        Cut,
        plain=st.booleans(),
        sampled=st.booleans(),
        exact_asked=st.booleans(),
        delivered_tokens=st.integers(1, 5000),
        continued=st.booleans(),
        diverged=st.booleans(),
        unwilling=st.booleans(),
        exact_possible=st.booleans(),
        tokens_per_s=st.floats(0, 1000),
    )
)
def test_no_rule_is_broken_by_any_facts(cut):
    """What is formed is never continued, what was asked exact never approximate, and a text that
    was continued once is never compared with a replay."""
    way = decide(cut)
    if isinstance(way, Continue):
        assert cut.plain and not cut.exact_asked and not cut.unwilling
    if isinstance(way, Replay):
        assert not cut.continued and not cut.diverged
        assert way.exact == cut.exact_possible
        assert way.exact or not cut.exact_asked


@pytest.mark.parametrize(
    ("first", "second", "exact"),
    [
        (FIRST, FIRST, True),
        (None, FIRST, False),
        (Conditions("sha256:a", "b1", "cpu", "s", cached_tokens=1), FIRST, False),
        (Conditions("sha256:a", "b1", "cpu", "s", cached_tokens=-1), FIRST, False),
        (FIRST, Conditions("sha256:b", "b1", "cpu", "s"), False),
        (FIRST, Conditions("sha256:a", "b2", "cpu", "s"), False),
        (FIRST, Conditions("sha256:a", "b1", "cuda:0", "s"), False),
        (FIRST, Conditions("sha256:a", "b1", "cpu", "t"), False),
        (Conditions("", "b1", "cpu", "s"), Conditions("", "b1", "cpu", "s"), False),
        (Conditions("sha256:a", "b1", "cpu", ""), Conditions("sha256:a", "b1", "cpu", ""), False),
    ],
)
def test_exactness_is_promised_only_where_everything_matches(first, second, exact):
    """File, build, device, settings, and no tokens from a warm cache; unknown is unequal."""
    assert exact_possible(first, second) is exact


@pytest.mark.parametrize(
    ("facts", "cold"),
    [
        ({}, True),
        ({"shared_tokens": 51}, False),
        ({"shared_tokens": 50}, True),
        ({"shared_tokens": 5000, "prefill_tokens_per_s": 0.0}, True),
        ({"shared_tokens": 5000, "exact_asked": True}, True),
        ({"asked": True}, False),
        ({"asked": False, "shared_tokens": 5000}, True),
    ],
)
def test_the_cache_is_used_where_it_saves_half_a_second(facts, cold):
    """The client's word counts, exactness counts more; what was never measured saves nothing."""
    given_ = {
        "shared_tokens": 0.0,
        "prefill_tokens_per_s": 100.0,
        "exact_asked": False,
        "asked": None,
    }
    assert runs_cold(**{**given_, **facts}) is cold


@pytest.mark.parametrize(
    ("deaths", "poison"),
    [
        ([("WORKER_CRASHED", False)], False),
        ([("WORKER_CRASHED", False), ("WORKER_OUT_OF_MEMORY", False)], True),
        ([("WORKER_KILLED", False)] * 3, False),
        ([("WORKER_HUNG", False)] * 3, False),
        ([("WORKER_LOST", False)] * 3, False),
        ([("WORKER_CRASHED", True), ("WORKER_CRASHED", False)], False),
        ([("WORKER_CRASHED", True)] * 2, False),
    ],
)
def test_who_takes_two_workers_down_gets_no_third(deaths, poison):
    """Crashes and lack of memory are blamed on the request; kills from outside, hangs, cut wires
    and deaths that several workers share are not."""
    assert is_poison(Death(f"w{n}", *death) for n, death in enumerate(deaths)) is poison
