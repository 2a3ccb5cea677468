"""Flags: what cannot be meant is refused before anything is started."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.keeper.parsing import count_flag, port_flag, seed_flag, temperature_flag, time_flag


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        *[(temperature_flag, text) for text in ("nan", "inf", "-1", "-inf", "warm", "")],
        *[(seed_flag, text) for text in ("-1", "4294967296", "9" * 30, "1.5", "")],
        *[(count_flag, text) for text in ("0", "-5", "x", "9" * 10)],
        *[(port_flag, text) for text in ("65536", "-1", "x")],
        *[(time_flag, text) for text in ("0", "-1", "soon")],
    ],
)
def test_what_cannot_be_meant_is_refused(flag, text):
    """Each in words that name the text."""
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        flag(text)
    assert text in str(caught.value) or "time" in str(caught.value)


@given(st.text(max_size=50))
def test_any_text_is_a_value_or_refused(text):
    """No other exception leaves a flag."""
    for flag in (temperature_flag, seed_flag, count_flag, port_flag, time_flag):
        try:
            flag(text)
        except argparse.ArgumentTypeError:
            continue


def test_what_is_meant_is_taken():
    """The edges of each range."""
    assert (temperature_flag("0"), temperature_flag("1.5")) == (0.0, 1.5)
    assert (seed_flag("0"), seed_flag("4294967295")) == (0, 4294967295)
