"""Requests in OpenAI's words."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import RbeeError
from rbee.wire.openai import parse_ask, parse_object, upstream_body


def ask(**fields):
    return parse_ask(msgspec.json.encode({"model": "m", **fields}), nesting=64)


def test_unknown_and_null_fields_pass_to_the_engine():
    """We are never stricter than the engine."""
    sent = upstream_body(
        ask(top_k=None, mirostat=2, messages=[{"role": "developer"}]), params={}, seed=7
    )

    assert sent["top_k"] is None and sent["mirostat"] == 2
    assert sent["messages"] == [{"role": "developer"}]


def test_upstream_is_always_streamed_with_progress_usage_and_a_seed():
    """Only so is a hang-up seen in time, and an answer repeatable."""
    sent = upstream_body(ask(stream=False), params={}, seed=7)

    assert sent["stream"] is True and sent["return_progress"] is True and sent["seed"] == 7
    assert sent["stream_options"] == {"include_usage": True}


def test_the_clients_seed_and_options_are_kept():
    """What the client said wins over what we add."""
    asked = ask(seed=3, stream_options={"include_usage": False, "x": 1}, temperature=0.5)
    sent = upstream_body(asked, params={"temperature": 2, "min_p": 1}, seed=7)

    assert sent["seed"] == 3 and sent["stream_options"]["x"] == 1
    assert sent["temperature"] == 0.5 and sent["min_p"] == 1
    assert not asked.wants_usage


def test_every_wrong_field_is_named_at_once():
    """A person who sent three mistakes is told of three mistakes."""
    body = b'{"model": 5, "stream": "yes", "seed": true, "timeout_s": -1}'
    with pytest.raises(RbeeError) as caught:
        parse_ask(body, nesting=64)

    problems = caught.value.facts["problems"]
    assert [one["param"] for one in problems] == ["model", "stream", "seed", "timeout_s"]
    assert caught.value.facts["param"] == "model"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"[" * 100_000,
        b'{"model": "m"} x',
        b'{"model": NaN}',
        b'{"model": "\xff\xfe"}',
        b'{"model": "\\ud800"}',
    ],
)
def test_what_is_no_request_is_refused(body):
    """Rubbish gets INVALID_REQUEST, whatever it is."""
    with pytest.raises(RbeeError) as caught:
        parse_ask(body, nesting=64)

    assert caught.value.code == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (b'{"model":"m","a":' + b"[" * 63 + b"]" * 63 + b"}", False),
        (b'{"model":"m","a":' + b"[" * 64 + b"]" * 64 + b"}", True),
        (b'{"model":"m","a":[' + b"{}," * 200 + b"{}]}", False),
    ],
)
def test_nesting_has_an_end(body, refused):
    """64 levels and no more; as many as one likes side by side."""
    try:
        parse_ask(body, nesting=64)
    except RbeeError as error:
        assert refused and "nested deeper than 64" in error.report.message
    else:
        assert not refused


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a":[' + b"1," * 1_100_000 + b"1]}", "1,048,576 values"),
        (b'{"a":[' + b'"",' * 1_100_000 + b"1]}", "1,048,576 values"),
        (b'{"a":[' + b'"\\\\",' * 2_200_000 + b"1]}", "1,048,576 values"),
        (b'{"a":[' + b"[]," * 131_072 + b"1]}", "131,072 lists, objects and members"),
        (b'{"a":[' + b'{"":1},' * 65_536 + b"1]}", "131,072 lists, objects and members"),
    ],
)
def test_values_are_counted_before_they_are_made(body, words):
    """Millions of small ones would hold everybody's answers while they are read."""
    with pytest.raises(RbeeError) as caught:
        parse_object(body, nesting=64)

    assert caught.value.code == "INVALID_REQUEST" and words in caught.value.report.message


@pytest.mark.parametrize(
    "value",
    [
        '[{a: 1}, "b\\\\", c]' * 1_500_000,
        [7] * 1_000_000,
        [[7] * 3] * 100_000,
        ["a text, and: more"] * 100_000,
        [{"role": "user", "content": "hello"}] * 40_000,
    ],
    ids=["a text of punctuation", "tokens", "lists of tokens", "texts", "messages"],
)
def test_what_people_ask_for_is_never_too_much(value):
    """A book of JSON as a prompt, a prompt of a million tokens, 100,000 inputs at once."""
    body = msgspec.json.encode({"input": value})

    assert parse_object(body, nesting=64) == {"input": value}


JSON = st.recursive(
    st.none() | st.integers(0, 9) | st.text(alphabet='[]{}"\\\\é:,', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet='[{"\\\\', max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) + max(map(depth, inner), default=0)


@given(JSON)
def test_nesting_is_counted_where_it_is(value):
    """Brackets in texts are no nesting, and none of the others is missed."""
    body = msgspec.json.encode({"a": value})
    deep = depth(value) + 1

    assert parse_object(body, nesting=deep) == {"a": value}
    if deep > 1:
        with pytest.raises(RbeeError):
            parse_object(body, nesting=deep - 1)


@given(st.binary(max_size=200) | st.binary(max_size=40).map(lambda inside: b'{"a":"%b"}' % inside))
def test_no_bytes_crash_the_parser(body):
    """Bytes are a request or an INVALID_REQUEST."""
    try:
        parse_object(body, nesting=4)
    except RbeeError as error:
        assert error.code == "INVALID_REQUEST"


def test_a_time_limit_comes_from_body_or_header_and_is_capped():
    """`timeout_s` wins over `X-Request-Timeout`; an hour is the most."""
    body = msgspec.json.encode({"model": "m", "timeout_s": 5})

    assert parse_ask(body, nesting=64, timeout_header="9").timeout_s == 5
    assert parse_ask(b'{"model":"m"}', nesting=64, timeout_header="99999").timeout_s == 3600
    assert "timeout_s" not in parse_ask(body, nesting=64).body
    with pytest.raises(RbeeError):
        parse_ask(b'{"model":"m"}', nesting=64, timeout_header="soon")


def test_a_penalty_looks_back_on_no_more_than_a_context_could_hold():
    """A window of 2^31 tokens would cost the engine 8 GiB and mean nothing more."""
    body = ask(repeat_last_n=2**31 - 1, dry_penalty_last_n=2**31 - 1, top_k=2**31 - 1).body

    assert body["repeat_last_n"] == body["dry_penalty_last_n"] == 1 << 20
    assert body["top_k"] == 2**31 - 1
    assert ask(repeat_last_n=-1).body["repeat_last_n"] == -1
    assert ask(repeat_last_n="much").body["repeat_last_n"] == "much"
