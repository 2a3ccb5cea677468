"""What a JSON decoder raises."""

import re
from pathlib import Path

import msgspec
import pytest

from rbee.wire.unreadable import UNREADABLE

SRC = Path(__file__).parents[2] / "src"


@pytest.mark.parametrize("data", [b"", b"{", b'"\xff"', b"[" * 100_000, b'"\\ud800"', b"1" * 5000])
def test_whatever_is_no_json_is_caught(data):
    """No bytes raise anything else."""
    with pytest.raises(UNREADABLE):
        msgspec.json.decode(data)


def test_a_shape_that_does_not_fit_is_caught():
    """A number where an object was to be, a text that is no UTF-8 where one was to be."""
    for data in (b"5", b'{"a":"\xff"}'):
        with pytest.raises(UNREADABLE):
            msgspec.json.decode(data, type=dict[str, str])


def test_nobody_forgets_two_thirds_of_it():
    """`except msgspec.DecodeError` would let a text through that is no UTF-8."""
    half = re.compile(r"except\b.*msgspec\.DecodeError")

    assert [str(one) for one in SRC.rglob("*.py") if half.search(one.read_text("utf-8"))] == []
