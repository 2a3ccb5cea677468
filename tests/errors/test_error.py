"""Promises of the one exception."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import RbeeError, Report, Retry
from rbee.errors.error import CatalogueError, human_bytes


def test_a_missing_fact_fails_at_the_raise():
    """Whoever forgets a fact learns it in a test, not from a user's screen."""
    with pytest.raises(CatalogueError, match=r"QUEUE_TIMEOUT: missing facts \['limit_s'\]"):
        RbeeError("QUEUE_TIMEOUT", model="tiny")


def test_an_unknown_fact_fails_at_the_raise():
    """A fact that the row does not name would be lost on the way."""
    with pytest.raises(CatalogueError, match=r"unknown facts \['colour'\]"):
        RbeeError("QUEUE_TIMEOUT", model="tiny", limit_s=60, colour="red")


def test_an_unknown_code_fails_at_the_raise():
    """Nobody raises what nobody can look up."""
    with pytest.raises(CatalogueError, match="NO_SUCH is not in the catalogue"):
        RbeeError("NO_SUCH")


def test_optional_facts_may_be_absent_and_are_kept_when_given():
    """An optional fact stands in the details."""
    assert "path" not in RbeeError("MODEL_FILE_MISSING", model="m").facts
    assert RbeeError("MODEL_FILE_MISSING", model="m", path="x").facts["path"] == "x"


def test_the_sentence_carries_its_facts_with_units():
    """Sizes are read by people."""
    error = RbeeError("DISK_FULL", needed_bytes=20 << 30, free_bytes=98362432)

    assert error.report.message == "20.0 GiB are needed and 93.8 MiB are free."
    assert str(error) == f"DISK_FULL: {error.report.message}"


def test_lists_are_read_by_people_too():
    """An empty list is `none`."""
    assert "Nearest: a, b." in str(RbeeError("MODEL_NOT_FOUND", model="c", nearest=["a", "b"]))
    assert "Nearest: none." in str(RbeeError("MODEL_NOT_FOUND", model="c", nearest=[]))


def test_facts_of_strangers_are_not_formatted_again():
    """Braces in a name from outside stay what they are."""
    error = RbeeError("MODEL_NOT_FOUND", model="{0.__class__}{nearest}", nearest=[])

    assert "{0.__class__}{nearest}" in error.report.message


def test_a_code_that_only_a_newer_peer_knows_survives():
    """What came over a socket is told as it came."""
    report = Report("FROM_THE_FUTURE", "It was warm.", status=418, exit=7, retry=Retry.LATER)

    error = RbeeError.from_report(report)

    assert (error.code, error.report) == ("FROM_THE_FUTURE", report)
    assert str(error) == "FROM_THE_FUTURE: It was warm."


def test_the_cause_is_kept():
    """`raise … from` works as with any exception."""
    with pytest.raises(RbeeError) as caught:
        raise RbeeError("SHUTTING_DOWN") from OSError("gone")

    assert isinstance(caught.value.__cause__, OSError)


def test_a_report_is_a_value():
    """It can be compared and copied."""
    report = RbeeError("QUEUE_TIMEOUT", model="m", limit_s=1).report

    assert report == RbeeError("QUEUE_TIMEOUT", model="m", limit_s=1).report
    assert pickle.loads(pickle.dumps(report)) == report


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (98362432, "93.8 MiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 40, "3.0 TiB"),
        (4096 << 40, "4096.0 TiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes_in_words(size_bytes, words):
    """Binary units, one digit after the point."""
    assert human_bytes(size_bytes) == words


@given(st.integers(min_value=0, max_value=1 << 60))
def test_any_size_has_words(size_bytes):
    """A number and a unit, whatever the size."""
    number, unit = human_bytes(size_bytes).split()

    assert float(number) >= 0
    assert unit in ("B", "KiB", "MiB", "GiB", "TiB")


@pytest.mark.parametrize(
    ("seconds", "words"), [(29.999728679656982, "30 s"), (0.25, "0.25 s"), (3600.0, "3600 s")]
)
def test_a_measured_time_is_told_in_few_digits(seconds, words):
    """The fact keeps all of them."""
    error = RbeeError("DEADLINE_EXCEEDED", deadline_s=seconds, phase="being written")

    assert f"within the {words} that" in error.report.message
    assert error.report.details["deadline_s"] == seconds
