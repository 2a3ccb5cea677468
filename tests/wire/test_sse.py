"""Server-sent events, split anywhere."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.wire.sse import DONE, EventTooLarge, Splitter, comment, encode

STREAM = b': ping\n\ndata: {"a":1}\n\nevent: error\ndata: x\ndata: y\n\n:\n\n' + DONE


@given(st.lists(st.integers(1, len(STREAM) - 1)), st.booleans())
def test_events_do_not_depend_on_where_the_bytes_were_cut(cuts, crlf):
    """However the network cuts a stream, the same events come out; CR LF is LF."""
    stream = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    edges = [0, *sorted(set(cuts)), len(stream)]
    splitter = Splitter(1 << 20)
    events = [event for start, end in pairwise(edges) for event in splitter.feed(stream[start:end])]

    said = [(event.name, event.data) for event in events]
    assert said == [
        (b"", None),
        (b"", b'{"a":1}'),
        (b"error", b"x\ny"),
        (b"", None),
        (b"", b"[DONE]"),
    ]
    assert not splitter.pending


def test_an_event_keeps_its_bytes():
    """What needs no change is forwarded unchanged."""
    assert Splitter(100).feed(STREAM)[1].raw == b'data: {"a":1}\n\n'


def test_a_cut_event_is_pending():
    """The end of a connection in the middle of an event is no end of an answer."""
    splitter = Splitter(100)
    splitter.feed(b"data: {")

    assert splitter.pending


def test_an_endless_event_is_given_up():
    """An engine that never ends an event does not grow us."""
    splitter = Splitter(10)

    with pytest.raises(EventTooLarge):
        splitter.feed(b"data: 0123456789")


def test_what_we_write_can_be_read_back():
    """Our own events and comments are of the shape that real clients survive."""
    events = Splitter(100).feed(encode(b"{}", name="rbee") + comment("loading"))

    assert [(event.name, event.data) for event in events] == [(b"rbee", b"{}"), (b"", None)]
    assert comment("loading") == b": rbee loading\n\n"


def test_a_comment_is_one_that_clients_survive():
    """One line with words of ours: an id, a bare colon or an empty event crashes real ones."""
    assert comment("waiting: 3 before you") == b": rbee waiting: 3 before you\n\n"


def test_a_large_event_costs_what_it_is_long():
    """Put together once, not anew with each packet: 16 MiB took 2 s of everybody's time. (fuzz)"""
    splitter, piece = Splitter(32 << 20), b"x" * (64 << 10)
    began = time.thread_time()
    assert splitter.feed(b"data: ") == []
    for _ in range(256):
        assert splitter.feed(piece) == []
    (event,) = splitter.feed(b"\n\n")

    assert len(event.data or b"") == 16 << 20
    assert time.thread_time() - began < 0.5
