"""Engines that say anything: what a client gets of it is an answer or an error with a code."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import Fuzzed
from tests.fuzz.odd import SCALARS, VALUES, damaged, tries
from tests.queen.stage import DONE, END, HEAD, WHOLE, chunk

PATHS = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"prompt": "hi"},
    "/completion": {"prompt": "hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3},
    "/v1/responses": {"input": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/tokenize": {"content": "hi"},
}

CALLS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "index": SCALARS,
            "id": SCALARS,
            "function": VALUES
            | st.fixed_dictionaries({}, optional={"name": SCALARS, "arguments": VALUES}),
        },
    ),
    max_size=2,
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "role": SCALARS,
        "content": VALUES,
        "reasoning_content": SCALARS,
        "tool_calls": CALLS | VALUES,
    },
)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | SCALARS,
        "finish_reason": st.sampled_from(["stop", "length", "tool_calls", None]) | VALUES,
        "delta": DELTA | VALUES,
        "text": SCALARS,
        "logprobs": VALUES,
    },
)
CHUNK = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(CHOICE | VALUES, max_size=2) | VALUES,
        "usage": VALUES
        | st.fixed_dictionaries(
            {"completion_tokens": SCALARS, "prompt_tokens": SCALARS},
        ),
        "prompt_progress": VALUES
        | st.fixed_dictionaries({"total": SCALARS, "processed": SCALARS, "cache": SCALARS}),
        "error": VALUES | st.fixed_dictionaries({"code": SCALARS, "message": SCALARS}),
        "timings": VALUES,
        "id": SCALARS,
        "model": SCALARS,
        "created": SCALARS,
        "type": st.sampled_from(
            [
                "message_start",
                "message_delta",
                "message_stop",
                "content_block_delta",
                "response.created",
                "response.completed",
                "response.output_text.delta",
                "error",
            ]
        )
        | SCALARS,
        "delta": VALUES,
        "message": VALUES,
        "response": VALUES,
        "content": VALUES,
        "stop": SCALARS,
        "tokens": VALUES,
    },
)


def event(value: Any) -> bytes:
    name = value.get("type") if isinstance(value, dict) else None
    head = f"event: {name}\n".encode() if isinstance(name, str) and name.isidentifier() else b""
    return head + b"data: " + json.dumps(value).encode() + b"\n\n"


ANY_EVENTS = st.lists(
    (CHUNK | VALUES).map(event)
    | st.sampled_from([DONE, b":\n\n", b"data:\n\n", b"data: {\n\n", b"\n\n", b"id: 1\n\n"])
    | st.binary(max_size=20),
    max_size=6,
)


def said(**fields: Any) -> dict[str, Any]:
    return {"id": "c", "created": 1, "model": "tiny", **fields}


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return said(choices=[{"index": 0, "finish_reason": finish, "delta": fields}])


CALL = [{"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
USAGE = {"completion_tokens": 2, "prompt_tokens": 3, "total_tokens": 5}
SOUND: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        said(choices=[], prompt_progress={"total": 3, "cache": 0, "processed": 3}),
        delta(role="assistant", content=None),
        delta(content="Hel", reasoning_content="hm"),
        delta(tool_calls=CALL),
        delta(content="lo"),
        delta("stop"),
        said(choices=[], usage=USAGE, timings={"prompt_n": 3}),
    ],
    "/v1/completions": [
        said(choices=[{"index": 0, "text": "Hel", "finish_reason": None, "logprobs": None}]),
        said(choices=[{"index": 0, "text": "lo", "finish_reason": "stop"}], usage=USAGE),
    ],
    "/completion": [
        {"content": "Hel", "stop": False, "tokens": [1], "index": 0},
        {"content": "lo", "stop": True, "tokens_predicted": 2, "tokens_evaluated": 3},
    ],
    "/v1/messages": [
        {"type": "message_start", "message": {"id": "m", "content": [], "usage": USAGE}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": USAGE},
        {"type": "message_stop"},
    ],
    "/v1/responses": [
        {"type": "response.created", "response": {"id": "r", "output": []}},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "x"},
        {"type": "response.completed", "response": {"id": "r", "output": [], "usage": USAGE}},
    ],
}


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value within."""
    if not isinstance(value, dict | list):
        return []
    inner = list(value.items() if isinstance(value, dict) else enumerate(value))
    within = [one for key, part in inner for one in places(part, (*way, key))]
    return [(*way, key) for key, _ in inner] + within


def with_odd(events: list[dict[str, Any]], odd: list[tuple[int, Any]]) -> list[dict[str, Any]]:
    """A sound answer in which some values are others."""
    events = json.loads(json.dumps(events))
    for number, value in odd:
        ways = places(events)
        *way, last = ways[number % len(ways)]
        inside: Any = events
        for key in way:
            inside = inside[key]
        inside[last] = value
    return events


def events_for(path: str) -> st.SearchStrategy[list[bytes]]:
    sound = SOUND.get(path, SOUND["/v1/completions"])
    odd = st.lists(st.tuples(st.integers(0, 1000), VALUES), max_size=2)
    nearly = odd.map(lambda odd: [event(one) for one in with_odd(sound, odd)])
    order = st.lists(st.integers(0, len(sound) - 1), max_size=8)
    shuffled = order.map(lambda order: [event(sound[at]) for at in order])
    ended = st.tuples(nearly | shuffled, st.booleans())
    return ended.map(lambda pair: [*pair[0], DONE] if pair[1] else pair[0]) | ANY_EVENTS


async def asked(here: Fuzzed, path: str, *, stream: bool) -> httpx.Response:
    body = {"model": "tiny", **PATHS[path], "stream": stream, "timeout_s": 5}
    return await here.stage.client.post(path, json=body)


def check(here: Fuzzed, answer: httpx.Response, *, stream: bool) -> None:
    """It is whole, in the shape that was asked for, and no mistake of ours."""
    assert not here.faults, here.faults
    assert "INTERNAL" not in answer.text, answer.text
    if answer.headers["content-type"].startswith("application/json"):
        value = json.loads(answer.text)
        if answer.status_code >= 400:
            assert value["error"]["code"], value
        return
    assert stream and answer.status_code == 200, answer.headers
    assert answer.text.endswith("\n\n"), answer.text[-200:]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_events_of_any_shape(fuzzed: Fuzzed, path: str, stream: bool) -> None:
    """Wrong types, wrong order, wrong bytes, in each dialect."""

    @tries(1000)
    @given(events=events_for(path))
    def story(events: list[bytes]) -> None:
        fuzzed.plays(HEAD, *(chunk(one) for one in events if one), END)
        check(fuzzed, fuzzed.run(asked(fuzzed, path, stream=stream)), stream=stream)

    story()


@pytest.mark.parametrize("stream", [False, True])
def test_damaged_answers(fuzzed: Fuzzed, stream: bool) -> None:
    """A whole answer with bytes that are missing, double or wrong, head and chunks too."""

    @tries(400)
    @given(said=damaged(WHOLE))
    def story(said: bytes) -> None:
        fuzzed.plays(said, then_close=True)
        answer = fuzzed.run(asked(fuzzed, "/v1/chat/completions", stream=stream))
        check(fuzzed, answer, stream=stream)

    story()


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/chat/completions", "/tokenize"])
def test_bodies_of_any_kind(fuzzed: Fuzzed, path: str) -> None:
    """One body instead of a stream, of any status and of any bytes."""

    @tries(1000)
    @given(
        status=st.sampled_from([200, 204, 304, 400, 401, 404, 418, 429, 500, 503, 999, 100, 199]),
        body=VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40),
        kind=st.sampled_from(["application/json", "text/html", "text/event-stream", ""]),
    )
    def story(status: int, body: bytes, kind: str) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        fuzzed.plays(head.encode() + body, then_close=True)
        answer = fuzzed.run(asked(fuzzed, path, stream=False))
        assert not fuzzed.faults and "INTERNAL" not in answer.text, (fuzzed.faults, answer.text)
        assert 200 <= answer.status_code < 600
        if answer.status_code >= 400:
            assert answer.json()["error"]["code"]

    story()
