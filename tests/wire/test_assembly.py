"""A streamed answer as one object."""

import msgspec
import pytest

from rbee.wire.assembly import Assembly


def assembled(chunks, *, chat=True):
    whole = Assembly(chat=chat)
    for chunk in chunks:
        whole.add(msgspec.json.encode(chunk))
    return whole.result()


def delta(index=0, finish=None, **fields):
    return {
        "id": "chatcmpl-1",
        "created": 5,
        "model": "m",
        "choices": [{"index": index, "finish_reason": finish, "delta": fields}],
    }


def test_text_reasoning_and_finish_come_together():
    """The pieces in order make the whole message."""
    result = assembled(
        [
            delta(role="assistant", content=None),
            delta(reasoning_content="h"),
            delta(reasoning_content="m"),
            delta(content="He"),
            delta(content="llo"),
            delta(finish="stop"),
            {"choices": [], "usage": {"completion_tokens": 2}, "timings": {"predicted_n": 2}},
        ]
    )

    assert result["object"] == "chat.completion" and result["id"] == "chatcmpl-1"
    message = result["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Hello", "reasoning_content": "hm"}
    assert result["choices"][0]["finish_reason"] == "stop"
    assert result["usage"] == {"completion_tokens": 2}


def test_several_choices_are_kept_apart():
    """n = 2 gives two answers, in the order of their index."""
    result = assembled(
        [delta(1, content="b"), delta(0, content="a"), delta(1, "stop"), delta(0, "length")]
    )

    assert [one["message"]["content"] for one in result["choices"]] == ["a", "b"]
    assert [one["finish_reason"] for one in result["choices"]] == ["length", "stop"]


def test_tool_calls_are_joined_by_their_index():
    """Id and name come once, arguments in pieces."""
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    result = assembled(
        [
            delta(tool_calls=[first]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
            delta(finish="tool_calls"),
        ]
    )

    call = result["choices"][0]["message"]["tool_calls"][0]
    assert call["id"] == "c1" and call["function"] == {"name": "f", "arguments": '{"a":1}'}


def test_logprobs_of_all_tokens_are_kept():
    """One entry a token, none lost."""
    chunks = [delta(content=letter) for letter in "ab"]
    for chunk, letter in zip(chunks, "ab", strict=True):
        chunk["choices"][0]["logprobs"] = {"content": [{"token": letter}]}

    result = assembled(chunks)
    tokens = [one["token"] for one in result["choices"][0]["logprobs"]["content"]]
    assert tokens == ["a", "b"]


def test_a_text_completion_is_a_text():
    """The older dialect has text where the newer has messages."""
    chunks = [{"choices": [{"index": 0, "finish_reason": None, "text": t}]} for t in "xy"]
    result = assembled(chunks, chat=False)

    assert result["object"] == "text_completion" and result["choices"][0]["text"] == "xy"


@pytest.mark.parametrize(
    "call",
    [{"index": None, "function": {"name": "f"}}, {"function": {"name": "f", "arguments": None}}],
)
def test_a_tool_call_without_a_number_is_the_next(call):
    """Engines that somebody else runs leave it out, or say null. (fuzz)"""
    whole = Assembly(chat=True)
    whole.add(msgspec.json.encode({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}))

    (made,) = whole.result()["choices"][0]["message"]["tool_calls"]
    assert made["function"] == {"name": "f", "arguments": ""}


def test_a_field_that_changes_its_type_is_taken_as_it_came_last():
    """What we do not know may be anything. (fuzz)"""
    whole = Assembly(chat=True)
    for value in ({"id": 1}, "a", "b"):
        delta = {"audio": value}
        whole.add(msgspec.json.encode({"choices": [{"index": 0, "delta": delta}]}))

    assert whole.result()["choices"][0]["message"]["audio"] == "ab"
