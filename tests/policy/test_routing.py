"""Which worker gets the next attempt."""

from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.routing import Candidate, choose


def test_the_least_loaded_worker_is_chosen():
    """Load is the share of slots in use, not their number."""
    assert choose([Candidate("a", 8, 4), Candidate("b", 2, 0)]) == "b"
    assert choose([Candidate("a", 8, 1), Candidate("b", 2, 1)]) == "a"


def test_a_worker_as_asked_is_preferred_to_a_degraded_one():
    """A worker that fell back is used only when the better one is full."""
    good, slow = Candidate("good", 4, 3), Candidate("slow", 4, 0, degraded=True)

    assert choose([slow, good]) == "good"
    assert choose([slow, Candidate("good", 4, 4)]) == "slow"


def test_a_worker_tried_in_vain_is_taken_only_if_it_is_the_last():
    """A retry goes elsewhere while there is an elsewhere."""
    both = [Candidate("a", 4, 0), Candidate("b", 4, 3)]

    assert choose(both, tried={"a"}) == "b"
    assert choose(both[:1], tried={"a"}) == "a"


@given(
    st.lists(st.builds(Candidate, st.sampled_from("abcdef"), st.integers(1, 8), st.integers(0, 8)))
)
def test_a_full_worker_is_never_chosen(candidates):
    """A slot that is not there is not given away."""
    chosen = choose(candidates)

    if chosen is None:
        assert all(one.busy >= one.slots for one in candidates)
    else:
        assert any(one.id == chosen and one.busy < one.slots for one in candidates)
