"""A body of many megabytes: looked over in slices, then cut into its members."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import RbeeError
from rbee.policy.affinity import conversation_of
from rbee.wire.large_body import Survey, members
from rbee.wire.openai import ask_of, parse_object
from rbee.wire.resumption import shape_of

LONG = "x" * 100_000

JSON = st.recursive(
    st.none() | st.integers(0, 9) | st.text(alphabet='[]{}"\\\\é:,🐟', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet='[{"\\\\', max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def look_over(body, cuts=(), *, nesting=64):
    survey = Survey(nesting)
    edges = [0, *sorted({cut % (len(body) + 1) for cut in cuts}), len(body)]
    for start, end in pairwise(edges):
        survey.feed(body[start:end])


@given(JSON, st.lists(st.integers(0, 300), max_size=8))
def test_nesting_is_counted_wherever_a_body_is_cut(value, cuts):
    """Slices end within texts, escapes and letters, and what stands in a text counts nowhere: the
    survey finds a body too deep where reading it finds it so."""
    body = msgspec.json.encode({"a": value})
    for nesting in range(1, 6):
        try:
            parse_object(body, nesting=nesting)
        except RbeeError:
            with pytest.raises(RbeeError, match="nested deeper"):
                look_over(body, cuts, nesting=nesting)
        else:
            look_over(body, cuts, nesting=nesting)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=5))
def test_small_members_are_read_as_ever(value):
    """And the object is the same."""
    assert members(msgspec.json.encode(value)) == value


def test_large_members_stay_as_they_came():
    """Byte for byte, on their way to the engine too."""
    body = (
        b'{"model":"m", "messages": [{"role":"user", "content":"' + LONG.encode() + b'"}], "n":1}'
    )

    found = members(body)
    sent = msgspec.json.decode(msgspec.json.encode(found))

    assert found["model"] == "m" and found["n"] == 1
    assert bytes(found["messages"]) in body
    assert sent == msgspec.json.decode(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a":[' + b"1," * 1_100_000 + b"1]}", "1,048,576 values"),
        (b'{"a":[' + b"[]," * 131_072 + b"1]}", "131,072 lists, objects and members"),
        (b'{"a":[' + b'{"":1},' * 65_536 + b"1]}", "131,072 lists, objects and members"),
        (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "nested deeper than 64 levels"),
        (b'{"a":"b"}]', "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
    ],
)
def test_what_is_too_much_is_told_before_it_is_read(body, words):
    """The same bounds, in the same words."""
    with pytest.raises(RbeeError, match=words):
        look_over(body, range(0, len(body), 1000))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"x"',
        b"{",
        b'{"a":1} x',
        b'{"a":NaN}',
        b'{"a":"' + LONG.encode() + b"}",
        b'{"\\ud800":1}',
        b"{" + b",".join(b'"%d":"%b"' % (n, LONG.encode()[:60_000]) for n in range(20)) + b"}",
        b"{" + b",".join(b'"%d":1' % n for n in range(20_000)) + b"}",
    ],
)
def test_what_is_no_request_is_refused(body):
    """Rubbish, and more small fields than are worth reading."""
    with pytest.raises(RbeeError) as caught:
        members(body)

    assert caught.value.code == "INVALID_REQUEST"


@pytest.mark.parametrize("field", ["model", "stream", "seed", "stream_options", "timeout_s"])
def test_what_we_act_on_is_small(field):
    """A field of ours that is too large to be read is wrong."""
    with pytest.raises(RbeeError) as caught:
        ask_of(members(b'{"model":"m","%b":"%b"}' % (field.encode(), LONG.encode())))

    assert caught.value.facts["param"] == field


def test_the_next_turn_of_a_large_chat_is_known_again():
    """By the blocks of its bytes, as a chat is by its messages."""
    turn = {"role": "user", "content": LONG}
    one, two, other = (
        conversation_of(members(msgspec.json.encode({"messages": messages})))
        for messages in ([turn, turn], [turn, turn, turn], [{**turn, "role": "system"}])
    )

    assert {one.prefixes[0], one.prefixes[1]} < set(two.prefixes)
    assert not set(two.prefixes) & set(other.prefixes)
    assert two.tokens == pytest.approx(75_000, rel=0.01)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": LONG}]},
        {"messages": [{"role": "user", "content": "x"}], "stop": [LONG]},
        {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": LONG}},
        {"messages": [{"role": "user", "content": "x"}], "tools": [LONG]},
    ],
)
def test_what_was_not_read_is_not_gone_on_from(body):
    """An answer to it is replayed or given up: whether words fit behind it is not known here."""
    assert not shape_of(members(msgspec.json.encode(body)), chat=True).plain
