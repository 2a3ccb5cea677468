"""The catalogue of edge cases is true: what it names is there, and no scenario is missing in it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache

import pytest

from rbee.errors.catalogue import CATALOGUE
from tests.rules.test_house import ROOT, tree

BDD = ROOT / "test-harness" / "bdd"
COLUMNS = 7
DESIGNED = 135
"""Scenarios of the original design, each with a row."""


@dataclass(frozen=True, slots=True)
class Row:
    """One edge case."""

    number: str
    codes: tuple[str, ...]
    scenarios: tuple[str, ...]
    tests: tuple[str, ...]
    status: str


@cache
def rows() -> tuple[Row, ...]:
    """Every line of the tables, but for their heads."""
    lines = (BDD / "EDGE_CASES_CATALOG.md").read_text().splitlines()
    return tuple(
        row(line) for line in lines if line.startswith("| ") and not line.startswith("| # |")
    )


def row(line: str) -> Row:
    cells = [cell.strip() for cell in line.strip("|").split(" | ")]
    assert len(cells) == COLUMNS, f"not {COLUMNS} cells: {line}"
    number, codes, proof, status = cells[0], cells[4], cells[5], cells[6]
    proofs = [] if proof == "-" else proof.split("; ")
    scenarios = [one.strip('"') for one in proofs if one.startswith('"')]
    tests = [one for one in proofs if not one.startswith('"')]
    named = () if codes == "-" else tuple(codes.split(", "))
    return Row(number, named, tuple(scenarios), tuple(tests), status)


@cache
def scenarios() -> frozenset[str]:
    """Every scenario of the features by its name."""
    return frozenset(
        name.strip()
        for path in (BDD / "features").glob("*.feature")
        for name in re.findall(
            r"^\s*Scenario(?: Outline)?:(.*)$", path.read_text(), flags=re.MULTILINE
        )
    )


def test_every_scenario_named_exists():
    """A scenario that was renamed or removed proves nothing any more."""
    named = {name for one in rows() for name in one.scenarios}
    assert named - scenarios() == set()


def test_every_scenario_stands_in_the_catalogue():
    """A new scenario gets a row, or is the proof of one."""
    named = {name for one in rows() for name in one.scenarios}
    assert scenarios() - named == set()


@pytest.mark.parametrize("test", sorted({test for one in rows() for test in one.tests}))
def test_every_test_named_exists(test):
    """A test stands in for a scenario only as long as it is there."""
    file, _, name = test.partition("::")
    assert (ROOT / file).is_file(), f"no {file}"
    defined = {
        node.name
        for node in ast.walk(tree(ROOT / file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in defined


def test_every_code_named_is_in_the_catalogue_of_errors():
    """No row promises a code that nobody will ever see."""
    assert {code for one in rows() for code in one.codes} - set(CATALOGUE) == set()


def test_numbers_are_unique_and_none_of_the_design_is_dropped():
    """Each case has its row, whatever became of it."""
    numbers = [one.number for one in rows()]
    assert len(numbers) == len(set(numbers))
    assert sum(bool(re.fullmatch(r"\d{3}\.\d+", number)) for number in numbers) == DESIGNED


@pytest.mark.parametrize("one", rows(), ids=lambda one: one.number)
def test_a_status_says_what_it_rests_on(one):
    """Proved and partly proved name a proof; all but proved say what is missing, or why."""
    word, _, reason = one.status.partition(": ")
    assert word in ("proved", "partly", "not yet", "does not apply")
    assert bool(reason) is (word != "proved")
    if word in ("proved", "partly"):
        assert one.scenarios or one.tests, "claimed without a proof"
