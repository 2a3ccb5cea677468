"""A transcript knows what went out, chunk by chunk or from a journal."""

import pytest

from rbee.wire.llama_server import decode_chunk
from rbee.wire.transcript import Transcript
from tests.wire.chunks import chunk, usage


def test_what_went_out_stands_by_choice():
    """Text, reasoning, calls, probabilities, finishes: each where it belongs."""
    call = {"index": 0, "id": "c1", "function": {"name": "add", "arguments": '{"a'}}
    more = {"index": 0, "function": {"arguments": '":1}'}}
    transcript = Transcript.of(
        [
            chunk({"role": "assistant", "content": None}),
            chunk({"reasoning_content": "hm"}),
            chunk({"content": "He"}, logprobs=[{"token": "He"}]),
            chunk({"content": "llo"}, logprobs=[{"token": "llo"}]),
            chunk({"tool_calls": [call]}),
            chunk({"tool_calls": [more]}),
            chunk({"content": "b"}, index=1),
            chunk({}, finish="tool_calls"),
            usage(3, 4),
            b"[DONE]",
        ]
    )
    first = transcript.choices[0]

    assert first.text == "Hello" and "".join(first.reasoning) == "hm" and first.role
    assert first.calls[0].id == "c1" and "".join(first.calls[0].name) == "add"
    assert "".join(first.calls[0].arguments) == '{"a":1}'
    assert (first.logprobs, first.finish, transcript.choices[1].text) == (2, "tool_calls", "b")
    assert (transcript.tokens, transcript.usages, transcript.finished) == (6, 1, 1)
    assert transcript.head is not None and transcript.head.id == "first"


def test_completions_have_text():
    """The other dialect of ours, and the head of its first chunk."""
    data = b'{"choices":[{"text":"a","index":0,"finish_reason":null}],"id":"x"}'
    transcript = Transcript.of([data, data])

    assert transcript.choices[0].text == "aa" and transcript.tokens == 2


@pytest.mark.parametrize(
    ("payloads", "text_only"),
    [
        ([], True),
        ([chunk({"content": "a"})], True),
        ([chunk({"reasoning_content": "a"})], False),
        ([chunk({"tool_calls": [{"index": 0}]})], False),
        ([chunk({"content": "a"}, index=1)], False),
    ],
)
def test_only_text_of_one_choice_can_be_gone_on_from(payloads, text_only):
    """Reasoning, calls and further choices cannot be put into a prompt again."""
    assert Transcript.of(payloads).text_only is text_only


def test_an_error_is_no_part_of_an_answer():
    """It went out, and yet nothing begins with it."""
    data = b'{"error":{"code":"WORKER_LOST"}}'
    transcript = Transcript()
    transcript.take(decode_chunk(data), data)

    assert not transcript.begun
