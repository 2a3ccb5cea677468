"""Servers that are far away: how long they take is measured."""

from __future__ import annotations

import json
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from pytest_bdd import given, parsers, then

from eventually import eventually
from faults.lag import long_line
from steps.attached import attach


@pytest.fixture
def lines():
    with ExitStack() as stack:
        yield stack


@given(parsers.parse("it is attached over a line that takes {delay_ms:d} ms each way"))
def far(world, lines, delay_ms):
    server = urlsplit(world.seen["address"])
    port = lines.enter_context(long_line(server.port, delay_ms / 1000))
    attach(world, port)


def delay(world):
    return json.loads(world.home.keeper("workers", "list", "--json").out)["delay_ms"]


@then(parsers.parse("rbee shows that it takes at least {delay_ms:d} ms, and not twice as long"))
def shown(world, delay_ms):
    # The first look also dials; the next ones go over the same connection.
    def near():
        found = delay(world)
        assert found and delay_ms <= found < 2 * delay_ms, found
        return True

    eventually(near, within_s=10)
    found = world.home.keeper("workers", "list").out
    assert " ms)" in found, found


@then("rbee shows no time of it any more")
def shown_no_more(world):
    eventually(lambda: delay(world) is None, within_s=10)
