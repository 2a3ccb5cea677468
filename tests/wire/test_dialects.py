"""Streams of the passed dialects, as b11549 says them, become what it gives in one piece."""

import json

import msgspec
import pytest

from rbee.wire.dialects import MessageAssembly, NativeAssembly, ResponseAssembly


def together(assembly, *events):
    for event in events:
        assembly.add(json.dumps(event).encode())
    return assembly.result()


def test_a_response_is_its_last_event():
    """Whatever came before only announced it."""
    whole = {
        "id": "resp_1",
        "created_at": 5,
        "status": "completed",
        "output": [{"type": "message"}],
    }
    found = together(
        ResponseAssembly(),
        {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.completed", "response": whole},
    )

    assert found == {**whole, "completed_at": 5}


def test_a_message_is_its_head_its_blocks_and_its_tail():
    """Text, thinking and a tool's input in pieces; the usage of both ends."""
    head = {"id": "m", "role": "assistant", "content": [], "stop_reason": None}
    found = together(
        MessageAssembly(),
        {"type": "message_start", "message": {**head, "usage": {"input_tokens": 9}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "'m"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "name": "f", "input": {}},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"partial_json": '{"a"'}},
        {"type": "content_block_delta", "index": 1, "delta": {"partial_json": ":1}"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 3},
        },
        {"type": "message_stop"},
    )

    assert found == {
        "id": "m",
        "role": "assistant",
        "stop_reason": "tool_use",
        "content": [
            {"type": "text", "text": "I'm"},
            {"type": "tool_use", "name": "f", "input": {"a": 1}},
        ],
        "usage": {"input_tokens": 9, "output_tokens": 3},
    }


def test_an_input_that_is_no_json_is_kept_as_it_is():
    """A model may write anything."""
    found = together(
        MessageAssembly(),
        {"type": "content_block_delta", "index": 0, "delta": {"partial_json": "{oh"}},
    )

    assert found["content"] == [{"input": "{oh"}]


def test_a_native_answer_is_its_pieces_and_its_last_event():
    """Text, tokens and probabilities add up; the rest is said at the end."""
    found = together(
        NativeAssembly(),
        {"content": " a", "tokens": [1], "completion_probabilities": [{"id": 1}], "stop": False},
        {"content": " b", "tokens": [2], "completion_probabilities": [{"id": 2}], "stop": False},
        {"content": "", "tokens": [], "stop": True, "generation_settings": {"stream": True}},
    )

    assert found == {
        "content": " a b",
        "tokens": [1, 2],
        "completion_probabilities": [{"id": 1}, {"id": 2}],
        "stop": True,
        "generation_settings": {"stream": False},
    }


@pytest.mark.parametrize("usage", [[1], 5, "x", None])
def test_a_usage_of_another_kind_is_none(usage):
    """A message is put together without it. (fuzz)"""
    whole = MessageAssembly()
    whole.add(msgspec.json.encode({"type": "message_start", "message": {"usage": usage}}))

    assert whole.result()["usage"] == {}
