"""Which worker gets the next attempt."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rbee.policy.routing import Board, Candidate


def choose(candidates, **how):
    return Board(candidates).choose(**how)


def test_the_least_loaded_worker_is_chosen():
    """Load is the share of slots in use, not their number."""
    assert choose([Candidate("a", 8, 4), Candidate("b", 2, 0)]) == "b"
    assert choose([Candidate("a", 8, 1), Candidate("b", 2, 1)]) == "a"


def test_equals_take_turns():
    """Of equally loaded ones the one that had nothing for longest."""
    assert choose([Candidate("a", 4, 0, used=7), Candidate("b", 4, 0, used=3)]) == "b"


def test_a_worker_as_asked_is_preferred_to_a_degraded_one():
    """A worker that fell back is used only when the better one is full, warm or not."""
    good, slow = Candidate("good", 4, 3), Candidate("slow", 4, 0, degraded=True)

    assert choose([slow, good]) == "good"
    assert choose([slow, good], saved={"slow": 1.0}) == "good"
    assert choose([slow, Candidate("good", 4, 4)]) == "slow"


def test_a_worker_tried_in_vain_is_taken_only_if_it_is_the_last():
    """A retry goes elsewhere while there is an elsewhere, and waits for it if it is full."""
    a, b = Candidate("a", 4, 0), Candidate("b", 4, 3)

    assert choose([a, b], tried={"a"}) == "b"
    assert choose([a], tried={"a"}) == "a"
    assert choose([a, Candidate("b", 4, 4)], tried={"a"}) is None
    assert choose([a, Candidate("b", 4, 0, room=0)], tried={"a"}) == "a"


def test_failures_count_as_load():
    """A worker that fails at once is idle again at once, and no more attractive for it."""
    failing, working = Candidate("failing", 4, 0, failed=2), Candidate("working", 4, 1)

    assert choose([failing, working]) == "working"


def test_a_worker_without_room_gets_nothing():
    """Cut off, or beginning again with a part of its slots."""
    assert choose([Candidate("a", 4, 0, room=0)]) is None
    assert choose([Candidate("a", 4, 1, room=1), Candidate("b", 4, 3)]) == "b"


def test_a_warm_cache_outweighs_load_as_far_as_it_saves():
    """80 % of the prompt read already is worth up to 80 % of the slots, and never a wait."""
    warm, cold = Candidate("warm", 4, 3), Candidate("cold", 4, 0)

    assert choose([warm, cold], saved={"warm": 0.8}) == "warm"
    assert choose([warm, cold], saved={"warm": 0.7}) == "cold"
    assert choose([replace(warm, busy=4), cold], saved={"warm": 1.0}) == "cold"
    assert choose([warm, cold], saved={"warm": 0.9}, tried={"warm"}) == "cold"
    assert choose([warm, cold], saved={"gone": 0.9}) == "cold"


candidates = st.lists(
    st.builds(
        Candidate,
        st.sampled_from("abcdef"),
        st.integers(1, 8),
        st.integers(0, 8),
        degraded=st.booleans(),
        room=st.none() | st.integers(0, 8),
        failed=st.integers(0, 3),
    ),
    unique_by=lambda one: one.id,
)


@given(candidates, st.sets(st.sampled_from("abcdef")), st.booleans())
def test_a_full_worker_is_never_chosen(given_candidates, tried, warm):
    """A slot that is not there is not given away; one that is there is, unless tried in vain."""
    saved = dict.fromkeys("abc", 0.5) if warm else None
    chosen = choose(given_candidates, tried=tried, saved=saved)
    free = [one for one in given_candidates if one.free]

    if chosen is None:
        assert not [one for one in free if one.id not in tried]
    else:
        assert chosen in [one.id for one in free]


@given(st.lists(candidates, max_size=4), st.sets(st.sampled_from("abcdef")))
def test_a_board_is_what_was_put_on_it_last(rounds, dropped):
    """However often facts change, a board stands as if it were made of the last ones."""
    board, last = Board(), {}
    for one in (one for round_ in rounds for one in round_):
        board.put(one)
        last[one.id] = one
    for id_ in dropped:
        board.drop(id_)
        last.pop(id_, None)
    fresh = Board(last.values())

    assert board.choose() == fresh.choose()
    assert (board.free, board.slots, board.room) == (fresh.free, fresh.slots, fresh.room)
    assert board.free == sum(one.free for one in last.values())
    assert board.usable == sum(one.limit > 0 for one in last.values()) and len(board) == len(last)
