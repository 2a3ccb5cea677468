"""Promises of what hive and worker say to one another."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from rbee.wire import lifeline
from rbee.wire.control import Problem

SAID = [
    lifeline.WorkerHello("w1", 4, "0.1"),
    lifeline.Loading(0.5),
    lifeline.Listening(40000, 5, 4, 4096, "b1", ("cpu",)),
    lifeline.LoadFailed(Problem(code="MODEL_UNSUPPORTED", message="unknown architecture")),
]


@pytest.mark.parametrize("message", SAID, ids=lambda message: type(message).__name__)
def test_what_a_worker_says_arrives_as_it_was(message):
    """One line, and the same value on the other side."""
    line = lifeline.encode(message)

    assert line.count(b"\n") == 1
    assert lifeline.decode_from_worker(line) == message
    assert {type(one) for one in SAID} == set(get_args(lifeline.FromWorker))


def test_stop_is_all_that_a_hive_says():
    """Anything else is refused."""
    assert lifeline.decode_to_worker(lifeline.encode(lifeline.Stop())) == lifeline.Stop()
    for line in (b"", b"{}", b'{"type": "hello"}', lifeline.encode(SAID[0]), b'{"type": "st'):
        with pytest.raises(msgspec.DecodeError):
            lifeline.decode_to_worker(line)


def test_orders_survive_their_file():
    """A worker reads exactly the orders that its hive wrote."""
    spec = lifeline.WorkerSpec(
        id="w1",
        model="tiny",
        path="m.gguf",
        lifeline="hive.sock",
        log="w1.log",
        args=("--temp", "0"),
    )

    assert lifeline.decode_spec(lifeline.encode(spec)) == spec
    with pytest.raises(msgspec.DecodeError):
        lifeline.decode_spec(b'{"id": "w1"}')
