"""What llama.cpp's server says."""

import json

import msgspec
import pytest

from rbee.wire.llama_server import decode_chunk, is_json, refusal, stream_error, without_path

OVERFLOW = (
    b'{"error":{"code":400,"message":"request (3001 tokens) exceeds the available context size '
    b'(1024 tokens), try increasing it","type":"exceed_context_size_error",'
    b'"n_prompt_tokens":3001,"n_ctx":1024}}'
)


def test_an_overflow_names_both_numbers_and_what_would_fit():
    """The recorded answer of b11549 becomes CONTEXT_OVERFLOW."""
    error = refusal(400, OVERFLOW, model="m", path="/v1/chat/completions")

    assert error.code == "CONTEXT_OVERFLOW"
    assert error.facts["prompt_tokens"] == 3001 and error.facts["context_tokens"] == 1024
    assert "rbee serve m --ctx 4096" in error.report.action


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, b'{"error":{"message":"\'messages\' is required"}}', "ENGINE_REFUSED"),
        (501, b'{"error":{"type":"not_supported_error","message":"no"}}', "ENDPOINT_UNSUPPORTED"),
        (404, b'{"error":{"type":"not_found_error","message":"no"}}', "ENDPOINT_UNSUPPORTED"),
        (503, b'{"error":{"message":"Loading model"}}', "WORKER_LOST"),
        (500, b"<html>", "WORKER_LOST"),
        (500, b'{"error":{"message":"Failed to parse tools: Expected"}}', "ENGINE_REFUSED"),
        (500, b'{"error":{"message":"image input is not supported"}}', "ENGINE_REFUSED"),
        (500, b'{"error":{"message":"Unknown reasoning format: zz"}}', "ENGINE_REFUSED"),
        (
            500,
            b'{"error":{"message":"input (5000 tokens) is too large to process. increase the '
            b'physical batch size (current batch size: 512)"}}',
            "ENGINE_REFUSED",
        ),
        (
            500,
            b'{"error":{"message":"vector::_M_range_check: __n (which is 1000000000) >= '
            b'this->size() (which is 49152)"}}',
            "ENGINE_REFUSED",
        ),
        (500, b'{"error":{"message":"Compute error"}}', "WORKER_LOST"),
        (500, b'{"error":{"message":"Invalid input batch."}}', "WORKER_LOST"),
        (500, b'{"error":{"message":"CUDA error: unknown error"}}', "WORKER_LOST"),
        (400, b'{"error":"words"}', "ENGINE_REFUSED"),
        (401, b"", "WORKER_LOST"),
    ],
)
def test_engine_answers_become_codes(status, body, code):
    """A 4xx is the request's fault, a 5xx the worker's unless its words blame the request."""
    assert refusal(status, body, model="m", path="/p").code == code


def test_an_error_event_in_a_stream_is_the_same_error():
    """The engine reports an overflow in mid-stream in the same words."""
    event = decode_chunk(OVERFLOW)

    assert stream_error(event.error, model="m", path="/p").code == "CONTEXT_OVERFLOW"


def test_chunks_tell_progress_finish_and_usage():
    """The parts that we act on are found in recorded chunks."""
    progress = decode_chunk(
        b'{"choices":[{"finish_reason":null,"index":0,"delta":{}}],'
        b'"prompt_progress":{"total":31,"cache":0,"processed":16,"time_ms":0}}'
    )
    finish = decode_chunk(b'{"choices":[{"finish_reason":"length","index":0,"delta":{}}]}')

    assert progress.prompt_progress is not None and progress.prompt_progress.processed == 16
    assert finish.finished == 1 and progress.finished == 0


def test_props_lose_their_path():
    """No path of the machine goes out over HTTP."""
    assert without_path(b'{"model_path":"/home/x","n":1}') == b'{"n":1}'


@pytest.mark.parametrize("count", [None, "many", [], -1, 10**400, 1.5, True])
def test_an_odd_number_of_tokens_is_none(count):
    """The refusal keeps its meaning. (fuzz)"""
    error = {"type": "exceed_context_size_error", "n_prompt_tokens": count, "n_ctx": count}
    body = json.dumps({"error": error}).encode()

    found = refusal(400, body, model="tiny", path="/v1/chat/completions")

    assert found.code == "CONTEXT_OVERFLOW" and found.facts["prompt_tokens"] == 0


def test_progress_that_cannot_be_reckoned_with_is_no_progress():
    """Numbers beyond all floats. (fuzz)"""
    with pytest.raises(msgspec.DecodeError):
        decode_chunk(b'{"prompt_progress": {"total": 1, "processed": %d}}' % 10**400)


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"data: {}\n\n", b"[1] x"])
def test_what_is_no_json_is_known(body):
    """And what is, is let through."""
    assert not is_json(body)
    assert is_json(b'{"data": [1, "x"]}')
