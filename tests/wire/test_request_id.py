"""Ids that clients choose."""

import pytest

from rbee.wire.request_id import taken_over


@pytest.mark.parametrize(
    "header",
    [
        "a",
        "7f3c5a4e-2d0b-4c1e-9f57-0a4be1a7c111",
        "Root=1-67891233-abcdef012345678912345678",
        "req/2026:11.25+x@host~1",
        "x" * 128,
    ],
)
def test_plain_ids_are_taken_over(header):
    """Of proxies, tracers and people, letter for letter."""
    assert taken_over(header) == header


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x" * 129,
        "two words",
        "line\nbreak",
        "line\n",
        "quote\"'",
        "$(reboot)",
        "a,b",
        "-rf",
        "é",
        "٣",
        "job_" + "0" * 32,
    ],
)
def test_others_are_replaced(header):
    """What could be misread somewhere, is endless, or names a job of ours."""
    assert taken_over(header) == ""
