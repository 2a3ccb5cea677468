"""Promises about the ports of workers, with real sockets."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from rbee.errors import RbeeError
from rbee.hive.ports import Ports


def _free_span(count: int) -> int:
    """The first of so many neighbouring ports that nobody holds now."""
    for first in range(20_000, 30_000, count):
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    sock = held.enter_context(socket.socket())
                    sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
    raise AssertionError("no free ports")


def test_without_a_range_the_engine_binds_any() -> None:
    """Nothing is reserved that another program could take before the engine does."""
    assert Ports(lambda: (0, 0), set).next() == 0


def test_a_taken_port_is_passed_over() -> None:
    """By another program, or by a worker that has not bound it yet; then it goes round."""
    first = _free_span(3)
    ports = Ports(lambda: (first, first + 2), lambda: {first + 1})
    with socket.create_server(("127.0.0.1", first)):
        assert ports.next() == first + 2
        assert ports.next() == first + 2
    assert ports.next() == first


def test_a_range_that_is_full_is_told() -> None:
    """With one of its ports."""
    first = _free_span(1)
    with socket.create_server(("127.0.0.1", first)), pytest.raises(RbeeError) as caught:
        Ports(lambda: (first, first), set).next()
    assert caught.value.code == "PORT_TAKEN"
    assert caught.value.facts["port"] == first
