"""The research names scenarios and tests as proof: each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pytest_bdd.feature import get_features

from tests.rules.test_house import ROOT, tree

BDD = ROOT / "test-harness" / "bdd"
PAGE = BDD / "ERROR_HANDLING_RESEARCH.md"
NOT_YET, NOT_EXAMINED = "not yet", "not examined"


def named(kind: str) -> set[str]:
    """What the page gives as *kind: name*; an ellipsis is the legend's, not a name."""
    found = re.findall(rf"\*{kind}: ([^*]+)\*", PAGE.read_text())
    return {" ".join(name.split()) for name in found} - {"…"}


def tables() -> list[list[list[str]]]:
    """The page's tables, each a list of rows of cells, its head first and its rule left out."""
    found: list[list[list[str]]] = [[]]
    for line in PAGE.read_text().splitlines():
        if not line.startswith("|"):
            found.append([])
        elif not line.startswith("|---"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [table for table in found if table]


def test_every_scenario_that_the_research_names_exists():
    """A proof that is named is a scenario of the features, word for word."""
    features = get_features([str(BDD / "features")])
    there = {name for feature in features for name in feature.scenarios}

    assert named("scenario")
    assert not named("scenario") - there


def test_every_test_that_the_research_names_exists():
    """Where no scenario proves it yet, the test that does is there."""
    wrong = []
    for name in named("test"):
        file, _, function = name.partition("::")
        path = ROOT / Path(file)
        if not path.is_file() or function not in functions(path):
            wrong.append(name)

    assert named("test")
    assert not wrong


def functions(path: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree(path)) if isinstance(node, kinds)}


def test_every_cell_of_the_research_says_something():
    """No row is shorter than its head and no cell is empty: what was not looked at says so."""
    wrong = [
        row for table in tables() for row in table if len(row) != len(table[0]) or not all(row)
    ]

    assert not wrong


def test_every_row_of_the_matrix_has_its_proof_in_rbee():
    """rbee's cell names a scenario, or says plainly that there is none yet."""
    rows = [
        dict(zip(table[0], row, strict=True))
        for table in tables()
        if "rbee" in table[0]
        for row in table[1:]
    ]
    bare = [
        row["category"]
        for row in rows
        if "*scenario: " not in row["rbee"] and NOT_YET not in row["rbee"]
    ]

    assert rows
    assert not bare
    assert NOT_EXAMINED not in {row["rbee"] for row in rows}
