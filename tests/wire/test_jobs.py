"""Shapes of jobs: ids of events, the text so far, what stands in the journal."""

import json
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import RbeeError
from rbee.wire import sse
from rbee.wire.jobs import (
    Mark,
    Record,
    checked_key,
    crc_after,
    event_id,
    job_id_of,
    only_usage,
    parse_event_id,
    parse_job_ask,
    payload,
)
from rbee.wire.transcript import Conditions


@given(st.integers(0, 999_999_999), st.integers(0, 0xFFFFFFFF))
def test_an_event_id_is_read_as_it_was_written(number, crc):
    """Number and crc32 of every event."""
    assert parse_event_id(event_id(number, crc)) == (number, crc)


@given(st.text(max_size=30))
def test_anything_else_is_refused(text):
    """Whatever a client sends as Last-Event-ID is an id or an INVALID_REQUEST."""
    try:
        number, crc = parse_event_id(text)
    except RbeeError as error:
        assert error.code == "INVALID_REQUEST"
    else:
        assert event_id(number, crc).lstrip("0") == text.strip().lstrip("0")


def chunk(**delta):
    return json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=8))
def test_the_crc_is_that_of_the_whole_text(pieces):
    """However the text is cut into chunks."""
    crc = 0
    for piece in pieces:
        crc = crc_after(crc, chunk(content=piece))
    assert crc == zlib.crc32("".join(pieces).encode())


def test_reasoning_and_tool_arguments_are_text_too():
    """Whatever a client would lack if it were lost."""
    crc = crc_after(0, chunk(reasoning_content="a"))
    call = {"index": 0, "function": {"arguments": "c"}}
    crc = crc_after(crc, chunk(content="b", tool_calls=[call]))
    crc = crc_after(crc, b'{"choices":[{"text":"d"}]}')
    assert crc == zlib.crc32(b"abcd")


@pytest.mark.parametrize(
    ("data", "bare"),
    [
        (b'{"choices":[],"usage":{"prompt_tokens":1}}', True),
        (b'{"choices":[],"usage":null}', False),
        (b'{"choices":[{"delta":{"content":null}}],"usage":{}}', False),
        (b"no json", False),
        (b'{"choices":[{"text":"\xff"}],"usage":1}', False),
        (b"{}", False),
    ],
)
def test_a_usage_chunk_is_known(data, bare):
    """It goes to those only who asked for it."""
    assert only_usage(data) is bare
    assert crc_after(7, data) == 7


@pytest.mark.parametrize("raw", [b"data: x\n\n", b"data:x\n\n", b"event: y\ndata: x\n\n"])
def test_the_payload_of_an_event(raw):
    """However the event is written."""
    assert payload(raw) == b"x"


def test_a_mark_is_read_as_it_was_written():
    """And is a comment to everybody else."""
    mark = Mark(Conditions("d", "b", "cpu", "s", 3), 5, True, ({"worker": "w"},), ({"at": 1},))
    (event,) = sse.Splitter(10_000).feed(mark.written())
    assert event.data is None and Mark.read(event.raw) == mark
    assert Mark.read(b": something else\n\n") is None
    assert Mark.read(b": mark {broken\n\n") is None
    assert Mark.read(b': mark {"attempts":[{"worker":"\xff"}]}\n\n') is None


def test_a_record_survives_the_journal():
    """With its request byte for byte."""
    request = b'{"model":"tiny","seed":7}'
    record = Record(
        id="job_1", key_id="k", endpoint="/v1/x", model="tiny", request=msgspec.Raw(request)
    )
    again = msgspec.json.decode(msgspec.json.encode(record), type=Record)
    assert bytes(again.request) == request and again.key_id == "k"


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({}, None),
        ({"request": 1}, "request"),
        ({"request": {}, "endpoint": "/v1/models"}, "endpoint"),
        ({"request": {}, "on_disconnect": ""}, None),
        ({"request": {}, "more": 1}, None),
    ],
)
def test_a_bad_ask_is_refused_by_name(value, param):
    """INVALID_REQUEST, with the field where it is one of ours."""
    with pytest.raises(RbeeError) as raised:
        parse_job_ask(value)
    assert raised.value.code == "INVALID_REQUEST" and raised.value.facts.get("param") == param


@pytest.mark.parametrize("text", ["", "job_", "job_" + "A" * 32, "job_" + "0" * 33, "../x"])
def test_an_id_that_is_none_is_not_found(text):
    """Nothing else gets past it, to no path and to no table."""
    with pytest.raises(RbeeError, match="JOB_NOT_FOUND"):
        job_id_of(text)


@pytest.mark.parametrize("key", ["a", "x" * 255, "0123-abc ~"])
def test_a_key_is_plain(key):
    """Anything printable of a bounded length."""
    assert checked_key(key) == key
