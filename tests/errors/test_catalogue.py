"""Promises about every row of the catalogue."""

from __future__ import annotations

import re
import string

import pytest

from rbee.errors import RbeeError
from rbee.errors.catalogue import CATALOGUE, FAMILIES
from rbee.errors.error import Retry, Row

ROWS = [pytest.param(row, id=row.code) for rows in FAMILIES.values() for row in rows]
SENTENCES = ("says", "do", "means")
EXITS = {1, 2, 124, 130, 137, 255}


def fields(template: str) -> set[tuple[str, str]]:
    """Names and formats that a template asks for."""
    parts = string.Formatter().parse(template)
    return {(name, spec or "") for _, name, spec, _ in parts if name is not None}


def sample(row: Row) -> dict[str, object]:
    """A fact of the right kind for each name."""
    lists = {name for words in SENTENCES for name, spec in fields(getattr(row, words)) if spec}
    return {
        name: 3
        if name.endswith(("_bytes", "_s", "_tokens"))
        else (["one", "two"] if name in lists else name.upper())
        for name in row.facts
    }


def test_codes_are_unique():
    """A code stands in one family only."""
    assert len(CATALOGUE) == sum(len(rows) for rows in FAMILIES.values())


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_raised_with_its_facts(row):
    """All three sentences format with the facts that the row names, and with nothing else."""
    report = RbeeError(row.code, **sample(row)).report

    for text in (report.message, report.action, report.means):
        assert text
        assert not re.search(r"\{\w*\}", text)


@pytest.mark.parametrize("row", ROWS)
def test_optional_facts_stand_in_no_sentence(row):
    """A sentence never depends on what may be absent."""
    asked = {name for words in SENTENCES for name, _ in fields(getattr(row, words))}

    assert asked <= set(row.facts)
    assert not set(row.optional) & set(row.facts)


@pytest.mark.parametrize("row", ROWS)
def test_sizes_are_told_in_words(row):
    """`*_bytes` is formatted as a size wherever it is told."""
    for words in SENTENCES:
        for name, spec in fields(getattr(row, words)):
            assert (spec == "bytes") is name.endswith("_bytes"), f"{words}: {name}"


@pytest.mark.parametrize("row", ROWS)
def test_status_exit_and_retry_agree(row):
    """A 4xx is the asker's to change; exit codes are those of the command line."""
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", row.code)
    assert 400 <= row.status < 600
    assert row.exit in EXITS
    if row.status in (400, 403, 404, 405, 413, 415, 422):
        assert row.retry is Retry.NEVER
    if "retry_after_s" in row.facts:
        assert row.retry in (Retry.LATER, Retry.ELSEWHERE)


@pytest.mark.parametrize("row", ROWS)
def test_no_path_in_a_sentence(row):
    """A path is a fact for the keeper's screen; the sentences also go over HTTP."""
    told = {name for words in SENTENCES for name, _ in fields(getattr(row, words))}

    if row.code not in ROUTES:
        assert "path" not in told


ROUTES = (
    *("ROUTE_NOT_FOUND", "METHOD_NOT_ALLOWED", "ADMIN_ONLY", "KEY_ROLE", "ENDPOINT_UNSUPPORTED"),
)
"""Here `path` is the route that the client named itself."""
