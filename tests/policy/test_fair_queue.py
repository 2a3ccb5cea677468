"""The order of one waiting line."""

from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.policy.fair_queue import COST, FairQueue, Priority

HIGH, NORMAL, LOW = Priority.HIGH, Priority.NORMAL, Priority.LOW


def served(queue, count=None):
    """Take from the head; gives the items."""
    found = []
    while len(queue) and (count is None or len(found) < count):
        place = next(iter(queue))
        queue.take(place)
        found.append(place.item)
    return found


def test_one_key_is_served_in_order():
    """First come, first served."""
    queue = FairQueue()
    for number in range(5):
        queue.push(number)

    assert served(queue) == [0, 1, 2, 3, 4]


def test_keys_take_turns_however_much_each_has_in_line():
    """Who sends ten at once does not make another wait for ten."""
    queue = FairQueue()
    for number in range(10):
        queue.push(f"a{number}", key="a")
    assert served(queue, 3) == ["a0", "a1", "a2"]
    for number in range(3):
        queue.push(f"b{number}", key="b")
    queue.push("c0", key="c")

    assert served(queue, 7) == ["a3", "b0", "c0", "a4", "b1", "a5", "b2"]


def test_a_key_that_was_away_saves_nothing_up():
    """Turns that were not used are gone: a key that comes late takes turns from then on."""
    queue = FairQueue()
    for number in range(100):
        queue.push(f"a{number}", key="a")
    served(queue, 90)
    for number in range(3):
        queue.push(f"b{number}", key="b")

    assert served(queue, 4) == ["a90", "b0", "a91", "b1"]


def test_high_goes_first_and_low_last():
    """Of one key: what is urgent passes what waits, and a batch job lets all others pass."""
    queue = FairQueue()
    queue.push("low", priority=LOW)
    for number in range(4):
        queue.push(f"normal{number}")
    queue.push("high", priority=HIGH)

    assert served(queue) == ["high", "normal0", "normal1", "normal2", "normal3", "low"]


def test_one_low_is_let_through_for_eight_normal_ones():
    """The rule in the head of the file, counted."""
    queue = FairQueue()
    for _ in range(100):
        queue.push("low", priority=LOW)
        queue.push("normal")
    found = served(queue, 90)

    assert found.count("low") == 10
    assert COST[LOW] == 8 * COST[NORMAL] == 64 * COST[HIGH]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(Priority)), max_size=600),
    st.integers(2, 12),
)
def test_nobody_waits_for_ever(arrivals, limit):
    """Whatever comes after it, no more pass a request than the rule says."""
    queue = FairQueue()
    victim = queue.push("victim", key="v", priority=LOW)
    passed_by = 0
    for key, priority in arrivals:
        while len(queue) >= limit:
            (item,) = served(queue, 1)
            if item == "victim":
                return
            passed_by += 1
        queue.push("other", key=key, priority=priority)
        assert passed_by <= COST[LOW] * limit
    assert queue.position(victim) <= limit


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(Priority), st.booleans()), max_size=60
    )
)
def test_a_position_is_the_number_of_those_served_before(steps):
    """The place told is the place in the order, for those in line and for who would come next."""
    queue = FairQueue()
    for key, priority, serve in steps:
        expected = queue.next_position(key, priority)
        place = queue.push(object(), key=key, priority=priority)
        assert queue.position(place) == expected
        if serve:
            served(queue, 1)
    places = list(queue)

    assert [queue.position(one) for one in places] == list(range(1, len(places) + 1))
    for place in places:
        assert queue.position(place) == 1
        queue.take(place)
        assert queue.position(place) == 0


def test_who_was_served_in_vain_is_next():
    """A second attempt does not queue up again."""
    queue = FairQueue()
    queue.push("a", key="a")
    queue.push("b", key="b", priority=HIGH)
    served(queue, 1)
    queue.push_first("again")

    assert served(queue) == ["again", "a"]


def test_what_leaves_unserved_is_not_counted_against_its_key():
    """A client that hung up ten times is not behind those who did not."""
    queue = FairQueue()
    left = [queue.push("gone", key="a") for _ in range(10)]
    queue.push("b0", key="b")
    queue.push("b1", key="b")
    for place in left:
        assert queue.remove(place)
    queue.push("a", key="a")

    assert not queue.remove(left[0])
    assert served(queue) == ["b0", "a", "b1"]


def test_a_full_line_belongs_to_all_keys():
    """Who has most in line gives its last and least urgent place to who has fewer."""
    queue = FairQueue()
    for number in range(3):
        queue.push(f"a{number}", key="a")
    queue.push("low", key="a", priority=LOW)
    queue.push("b0", key="b")

    assert queue.displaced_by("c").item == "low"
    assert queue.displaced_by("a") is None
    queue.remove(queue.displaced_by("c"))
    queue.push("c0", key="c")
    assert queue.displaced_by("c").item == "a2"
    queue.remove(queue.displaced_by("c"))
    queue.push("c1", key="c")
    assert queue.displaced_by("c") is None and queue.displaced_by("b") is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=80))
def test_displacing_makes_lines_more_equal(steps):
    """Nobody loses a place to somebody who then has more of them."""
    queue = FairQueue()
    counts = dict.fromkeys("abcd", 0)
    for key, serve in steps:
        place = queue.displaced_by(key)
        if place is not None:
            loser = place.flow[0]
            assert counts[loser] == max(counts.values())
            assert counts[loser] - 1 >= counts[key] + 1
            queue.remove(place)
            counts[loser] -= 1
        queue.push(key, key=key)
        counts[key] += 1
        for item in served(queue, serve):
            counts[item] -= 1
