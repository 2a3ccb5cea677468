"""What is known of which worker has read what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.affinity import UNKNOWN, Warmth, conversation_of

SYSTEM = {"role": "system", "content": "You are terse. " * 60}


def chat(*texts, **fields):
    roles = ("user", "assistant")
    said = [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    return conversation_of({"messages": [SYSTEM, *said], **fields})


def test_the_next_turn_finds_the_worker_of_the_last():
    """A chat sends its past again: what was read of it is known by its beginnings."""
    warmth = Warmth()
    first, second = chat("one"), chat("one", "1", "two")
    warmth.read("w1", first)

    assert warmth.cached_prefix("w1", second) == first.tokens
    assert warmth.cached_prefix("w2", second) == 0
    assert list(warmth.saved(second)) == ["w1"]
    assert warmth.saved(second)["w1"] == pytest.approx(first.tokens / second.tokens)


def test_a_shared_beginning_is_worth_what_it_is():
    """Another chat with the same system prompt finds that, and no more."""
    warmth = Warmth()
    warmth.read("w1", chat("one"))
    other = chat("something else")

    assert warmth.cached_prefix("w1", other) == other.prefixes[0].tokens < other.tokens
    assert warmth.cached_prefix("w1", conversation_of({"messages": [{"content": "x"}]})) == 0


def test_a_short_prompt_is_worth_no_choice():
    """A greeting is read at once anywhere: it sends nobody to the worker that has it."""
    warmth = Warmth()
    greeting = conversation_of({"messages": [{"role": "user", "content": "hi"}]})
    warmth.read("w1", greeting)

    assert warmth.saved(greeting) == {}
    assert warmth.cached_prefix("w1", greeting) == greeting.tokens


def test_tools_stand_before_everything():
    """The engine writes them into the prompt's head: other tools, nothing in common."""
    warmth = Warmth()
    warmth.read("w1", chat("one", tools=[{"name": "a"}]))

    assert warmth.cached_prefix("w1", chat("one", tools=[{"name": "b"}])) == 0


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "x" * 9000},
        {"input": [{"role": "user", "content": "hello"}], "instructions": "be terse"},
        {"system": "be terse", "messages": [{"role": "user", "content": [{"text": "hello"}]}]},
        {"input": "hello"},
    ],
)
def test_every_dialect_has_its_conversation(body):
    """Text, chat, responses and messages: the same request is known again."""
    warmth = Warmth()
    warmth.read("w1", conversation_of(body))
    again = conversation_of(body)

    assert warmth.cached_prefix("w1", again) == again.tokens > 0


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"messages": 5}, {"system": "x"}])
def test_what_holds_no_conversation_is_none(body):
    """A body that the engine will refuse is no reason to fail here."""
    assert conversation_of(body) == UNKNOWN


def test_a_worker_that_is_gone_has_read_nothing():
    """A new process has an empty cache, and nothing of the old one is kept."""
    warmth = Warmth()
    warmth.read("w1", chat("one"))
    warmth.read("w2", chat("one"))
    warmth.forget("w1")
    warmth.forget("w3")

    assert list(warmth.saved(chat("one"))) == ["w2"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30)), max_size=80))
def test_what_is_remembered_is_bounded(reads):
    """The newest stay; what fell out is forgotten on both sides."""
    warmth = Warmth(per_worker=6)
    for worker, number in reads:
        conversation = chat(str(number))
        warmth.read(worker, conversation)
        assert warmth.cached_prefix(worker, conversation) == conversation.tokens
        assert max(len(own) for own in warmth._read.values()) <= 6
        kept = sum(len(own) for own in warmth._read.values())
        assert sum(len(readers) for readers in warmth._readers.values()) == kept


def test_a_long_chat_keeps_its_head_and_its_last_turns():
    """Hashes are kept of 32 beginnings at most, whatever a request's length."""
    long = chat(*map(str, range(500)))

    assert len(long.prefixes) == 32
    assert long.prefixes[0].tokens < long.prefixes[-1].tokens == long.tokens


def test_a_prompt_of_tokens_is_read_in_blocks():
    """What two share is found again, and a million of them are not looked at one by one."""
    tokens = list(range(100_000, 101_000))
    first, second = conversation_of({"prompt": tokens}), conversation_of({"prompt": [*tokens, 7]})

    assert len(first.prefixes) == 4
    assert first.prefixes[:3] == second.prefixes[:3] and first.mark != second.mark
    assert len(conversation_of({"prompt": [7] * 1_000_000}).prefixes) < 100
