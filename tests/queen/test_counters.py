"""What is counted."""

from rbee.queen.counters import Counters


def test_the_rate_is_that_of_the_time_in_which_tokens_came():
    """100 tokens in 2 s are 50 a second, however long nobody asked for more."""
    counters = Counters()
    counters.add_tokens("w1", 100, 10.0, took_s=2.0)

    assert counters.tokens_per_s("w1", 60.0) == 50.0
    assert counters.tokens_per_s("w1", 71.0) == 0.0
    assert counters.tokens_per_s("w2", 60.0) == 0.0


def test_answers_at_once_add_up():
    """Two streams of 40 a second side by side are 80; one after the other they are 40."""
    counters = Counters()
    counters.add_tokens("at once", 40, 1.0, took_s=1.0)
    counters.add_tokens("at once", 40, 1.0, took_s=1.0)
    counters.add_tokens("in turn", 40, 1.0, took_s=1.0)
    counters.add_tokens("in turn", 40, 2.0, took_s=1.0)

    assert counters.tokens_per_s("at once", 5.0) == 80.0
    assert counters.tokens_per_s("in turn", 5.0) == 40.0
