"""The rules of the catalogue: every code is raised by us and provoked by a test."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from rbee.errors.catalogue import CATALOGUE
from tests.rules.test_house import ROOT, sources, tree

LISTED = tomllib.loads((Path(__file__).parent / "provoked_by_tests.toml").read_text())


@cache
def codes_made() -> frozenset[str]:
    """String literals of src outside the catalogue, but for those that are only compared with."""
    made = set()
    for path in sources("src/rbee"):
        if "catalogue" in path.parts:
            continue
        compared = {
            id(part)
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Compare)
            for part in ast.walk(node)
        }
        made |= {
            node.value
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in compared
        }
    return frozenset(made)


@cache
def codes_of_features() -> frozenset[str]:
    """Codes in steps and examples; a step that takes one thing *or* another proves neither."""
    features = (ROOT / "test-harness" / "bdd" / "features").glob("*.feature")
    return frozenset(
        word
        for path in features
        for line in path.read_text().splitlines()
        if " or " not in line
        for word in re.findall(r"\b[A-Z][A-Z0-9_]+\b", line)
        if word in CATALOGUE
    )


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_is_raised_somewhere(code):
    """A code that nothing raises is decoration: it is deleted."""
    assert code in codes_made()


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_is_provoked(code):
    """Each code is provoked by a scenario, or by a test named in provoked_by_tests.toml."""
    if code in codes_of_features():
        return
    assert code in LISTED, f"no scenario names {code}, and no test is listed for it"
    file, _, name = LISTED[code].partition("::")
    path = ROOT / file
    names = {
        node.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in names, f"{LISTED[code]} does not exist"
    assert code in path.read_text(), f"{file} never names {code}"


def test_the_list_holds_only_what_no_scenario_names():
    """A code that a scenario provokes, or that is gone, is taken off the list."""
    assert set(LISTED) <= set(CATALOGUE) - codes_of_features()


def test_every_raise_gives_the_facts_of_its_row():
    """A fact that is missing would fail where the error is made, in the moment of the fault."""
    wrong = []
    for path in sources("src/rbee"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and _is_made_here(node):
                row = CATALOGUE[node.args[0].value]
                given = {one.arg for one in node.keywords}
                needed = set(row.facts)
                if None in given:
                    needed, given = set(), given - {None}
                if needed - given or given - {*row.facts, *row.optional}:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {row.code}")

    assert not wrong


def _is_made_here(node: ast.Call) -> bool:
    """`RbeeError("CODE", …)`, whatever comes after it."""
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    first = node.args[0] if node.args else None
    return name == "RbeeError" and isinstance(first, ast.Constant) and first.value in CATALOGUE
