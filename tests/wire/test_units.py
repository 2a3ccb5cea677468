"""Sizes and times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.wire.units import parse_size_bytes, parse_time_s, write_size, write_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("30s", 30),
        ("2h", 7200),
        ("250ms", 0.25),
        ("0", 0),
        ("1.5 m", 90),
        ("1d", 86400),
    ],
)
def test_times_are_read(text: str, seconds: float) -> None:
    """A time is a number and its unit."""
    assert parse_time_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["5", "5x", "", "m", "-5s", "5m30s", "1e3s", "٣s x", "9" * 400 + "s"]
)
def test_times_without_sense_are_refused(text: str) -> None:
    """What is no time is refused, and never an exception of another kind."""
    with pytest.raises(ValueError, match=" "):
        parse_time_s(text)


@pytest.mark.parametrize(
    ("text", "size"), [("512MiB", 512 << 20), ("1GiB", 1 << 30), ("20GB", 20 * 10**9), ("7B", 7)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    """A size is a number and its unit, binary or decimal."""
    assert parse_size_bytes(text) == size


def test_bare_numbers_count_in_the_environment_only() -> None:
    """`RBEE_DRAIN_S=2` is two seconds; in the file a number needs its unit."""
    assert parse_time_s("2", bare=True) == 2
    assert parse_size_bytes("2", bare=True) == 2
    with pytest.raises(ValueError, match="unit"):
        parse_size_bytes("2")


@given(st.integers(0, 10**15))
def test_a_written_size_reads_back(size: int) -> None:
    """`config show` prints what could stand in the file."""
    assert parse_size_bytes(write_size(size)) == size


@given(st.integers(0, 10**7))
def test_a_written_time_reads_back(milliseconds: int) -> None:
    """`config show` prints what could stand in the file."""
    seconds = milliseconds / 1000
    assert parse_time_s(write_time(seconds)) == pytest.approx(seconds, rel=1e-5)
