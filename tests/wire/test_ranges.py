"""Ranges: planned without gaps, and an answer is taken only if it is exactly what was asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.wire.ranges import (
    ContentRange,
    Span,
    content_length,
    fault_of_206,
    parse_content_range,
    plan,
)

SIZES = st.integers(0, 1 << 40)


@given(SIZES, st.integers(1 << 20, 1 << 30))
def test_parts_cover_a_file_without_gap_or_overlap(size_bytes, part_bytes):
    """End to end, in order, none empty, none larger than a part."""
    size_bytes %= 1000 * part_bytes
    parts = plan(size_bytes, part_bytes)

    assert sum(part.size_bytes for part in parts) == size_bytes
    assert all(0 < part.size_bytes <= part_bytes for part in parts)
    assert [part.begin for part in parts] == [0, *(part.end for part in parts)][: len(parts)]


@given(st.integers(0, 1 << 40), st.integers(1, 1 << 40), st.integers(0, 1 << 40) | st.none())
def test_what_a_server_says_properly_is_understood(begin, length, beyond):
    """Every range that the RFC can express comes back as it was written."""
    span = Span(begin, begin + length)
    total = None if beyond is None else span.end + beyond
    text = f"bytes {span.begin}-{span.end - 1}/{'*' if total is None else total}"

    assert parse_content_range(text) == ContentRange(span, total)


ALPHABET = st.text("bytes =-/*0123456789\t\r\n,.xé٣", max_size=40)


@given(ALPHABET | st.text(max_size=40))
def test_noise_never_becomes_a_range_that_was_not_written(text):
    """Whatever is accepted is, but for blanks around it, the one spelling of that range."""
    found = parse_content_range(text)
    if found is not None:
        total = "*" if found.total_bytes is None else found.total_bytes
        said = f"bytes {found.span.begin}-{found.span.end - 1}/{total}"
        assert text.strip(" \t") == said
        assert 0 <= found.span.begin < found.span.end


@pytest.mark.parametrize(
    "text",
    [
        *("", "bytes", "bytes */10", "bytes 0-9", "bytes 0-9/", "bytes=0-9/10", "items 0-9/10"),
        *("bytes 9-0/10", "bytes 0-10/10", "bytes -1-9/10", "bytes 0-9/10, 20-29/30"),
        *("bytes 00-9/10", "bytes 0-09/10", "bytes 0-9/+10", "bytes 0 - 9/10", "bytes 0-9/10\n"),
        *("bytes ٠-٩/10", "bytes 0-99999999999999999999/*", "bytes 0-9223372036854775808/*"),
    ],
)
def test_what_is_nearly_a_range_is_none(text):
    """No second spelling, no sign, no other digits, no end before its beginning."""
    assert parse_content_range(text) is None


GOOD = {"content-range": "bytes 10-19/100", "content-length": "10"}


@pytest.mark.parametrize(
    ("changed", "size_bytes", "word"),
    [
        ({}, 100, ""),
        ({}, 0, ""),
        ({"content-range": "bytes 10-19/*"}, 100, ""),
        ({"content-encoding": "identity"}, 100, ""),
        ({"content-range": None}, 100, "which bytes"),
        ({"content-range": "bytes 0-9/100"}, 100, "asked for"),
        ({"content-range": "bytes 10-18/100"}, 100, "asked for"),
        ({"content-range": "bytes 10-20/100"}, 100, "asked for"),
        ({"content-range": "bytes 10-19/101"}, 100, "101 bytes"),
        ({"content-range": "bytes */100"}, 100, "Content-Range"),
        ({"content-length": "11"}, 100, "announces 11"),
        ({"content-encoding": "gzip"}, 100, "compressed"),
    ],
)
def test_a_206_is_held_against_what_was_asked(changed, size_bytes, word):
    """Only the very bytes that were asked for, of a file of the very size, are right."""
    headers = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    fault = fault_of_206(Span(10, 20), headers, size_bytes)

    assert bool(fault) == bool(word) and word in fault


@given(st.dictionaries(st.sampled_from([*GOOD, "content-encoding"]), ALPHABET))
def test_no_answer_makes_the_check_fall_over(headers):
    """Headers are noise: the check says what is wrong, or they were right."""
    if not fault_of_206(Span(10, 20), headers, 100):
        said = parse_content_range(headers["content-range"])
        assert said is not None and said.span == Span(10, 20)


@pytest.mark.parametrize(
    ("text", "length"), [("10", 10), ("", None), ("-1", None), ("1e3", None), ("٣", None)]
)
def test_a_length_is_a_number(text, length):
    """Digits, and nothing else."""
    assert content_length({"content-length": text}) == length
