"""What a request allows, and what the next attempt is asked."""

import json

import pytest

from rbee.wire.llama_server import decode_chunk
from rbee.wire.resumption import continued, finish_chunk, replayed, shape_of, usage_chunk
from rbee.wire.transcript import Transcript
from tests.wire.chunks import chunk

HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("fields", "plain"),
    [
        ({}, True),
        ({"n": 2}, False),
        ({"tools": [{}]}, False),
        ({"tools": [{}], "tool_choice": "none"}, True),
        ({"tools": []}, True),
        ({"functions": [{}]}, False),
        ({"grammar": "root ::= x"}, False),
        ({"json_schema": {"type": "object"}}, False),
        ({"response_format": {"type": "json_object"}}, False),
        ({"response_format": {"type": "text"}}, True),
        ({"messages": [*HI, {"role": "assistant", "content": "He"}]}, True),
        ({"messages": [*HI, {"role": "assistant", "content": [{}]}]}, False),
        ({"messages": "hi"}, False),
        ({"add_generation_prompt": False}, False),
    ],
)
def test_only_free_text_of_one_choice_can_be_continued(fields, plain):
    """A grammar that is gone on from starts at its root again."""
    assert shape_of({"messages": HI, **fields}, chat=True).plain is plain


@pytest.mark.parametrize(
    ("fields", "plain"),
    [
        ({}, True),
        ({"prompt": ["a", "b"]}, False),
        ({"prompt": [1]}, False),
        ({"echo": True}, False),
    ],
)
def test_a_prompt_that_is_one_text_can_be_continued(fields, plain):
    """Lists of prompts or token ids cannot."""
    assert shape_of({"prompt": "a", **fields}, chat=False).plain is plain


@pytest.mark.parametrize(
    ("fields", "sampled"),
    [
        ({}, True),
        ({"temperature": 0}, False),
        ({"temperature": -1}, False),
        ({"temperature": 0.7}, True),
        ({"top_k": 1}, False),
    ],
)
def test_greedy_is_told_from_sampled(fields, sampled):
    """The engine samples unless it is told not to."""
    assert shape_of({"messages": HI, **fields}, chat=True).sampled is sampled


def test_limits_and_stops_are_read_as_the_engine_reads_them():
    """One stop or many; the least of the limits; a limit below 0 is none."""
    shape = shape_of(
        {"messages": HI, "stop": "x", "max_tokens": -1, "n_predict": 9, "cache_prompt": False},
        chat=True,
    )

    assert (shape.stops, shape.max_tokens, shape.cache_asked) == (("x",), 9, False)
    assert shape_of({"messages": HI, "stop": ["a", "", 5]}, chat=True).stops == ("a",)
    assert shape_of({"messages": HI, "max_tokens": -1}, chat=True).max_tokens is None


def delivered(*texts):
    return Transcript.of([chunk({"content": text}) for text in texts])


def test_a_replay_is_the_same_request():
    """Cold, if another worker is to compute the same."""
    body = {"messages": HI, "seed": 7}

    assert json.loads(replayed(body, cold=False)) == body
    assert json.loads(replayed(body, cold=True)) == {**body, "cache_prompt": False}


def test_a_continuation_goes_on_from_the_text_with_fewer_tokens():
    """The delivered text stands as the beginning of the model's own turn."""
    body = {"messages": HI, "max_tokens": 10, "max_completion_tokens": 3, "seed": 7}
    asked = json.loads(continued(body, delivered("a", "b", "c"), chat=True))

    assert asked["messages"] == [*HI, {"role": "assistant", "content": "abc"}]
    assert (asked["max_tokens"], asked["max_completion_tokens"], asked["seed"]) == (7, 1, 7)
    assert body["messages"] == HI


def test_what_the_client_began_for_the_model_stays_before_it():
    """Engines refuse two messages of the assistant in a row."""
    body = {"messages": [*HI, {"role": "assistant", "content": "Once "}]}
    asked = json.loads(continued(body, delivered("upon"), chat=True))

    assert asked["messages"] == [*HI, {"role": "assistant", "content": "Once upon"}]


def test_a_completion_goes_on_from_its_prompt():
    """Prompt and text are one."""
    asked = json.loads(continued({"prompt": "a", "n_predict": -1}, delivered("b"), chat=False))

    assert asked == {"prompt": "ab", "n_predict": -1}


def test_what_no_engine_is_left_to_send_is_made_here():
    """Finish and usage, under the names of the answer's first chunk."""
    transcript = delivered("a", "b")
    transcript.prompt_tokens = 3
    finish = decode_chunk(finish_chunk(transcript.head, "length", chat=True))
    text = json.loads(finish_chunk(transcript.head, "length", chat=False))
    usage = json.loads(usage_chunk(transcript, 2))

    assert finish.choices[0].finish_reason == "length" and text["choices"][0]["text"] == ""
    assert usage["id"] == text["id"] == "first"
    assert usage["usage"] == {"completion_tokens": 2, "prompt_tokens": 3, "total_tokens": 5}
