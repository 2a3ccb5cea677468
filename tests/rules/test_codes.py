"""The rules of the catalogue: every code is raised by us and provoked by a test."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from rbee.errors.catalogue import CATALOGUE
from tests.rules.test_edge_cases import scenarios
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
def seen_by_scenarios() -> dict[str, tuple[str, ...]]:
    """What COVERAGE.md says; each complete run of the scenarios compares it with what they saw."""
    text = (ROOT / "test-harness" / "bdd" / "COVERAGE.md").read_text()
    rows = re.findall(r"^\| ([A-Z0-9_]+) \| (.*) \|$", text, flags=re.MULTILINE)
    return {code: tuple(names.strip('"').split('"; "')) for code, names in rows}


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_is_raised_somewhere(code):
    """A code that nothing raises is decoration: it is deleted."""
    assert code in codes_made()


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_is_provoked(code):
    """Each code is seen by a scenario, or provoked by a test named in provoked_by_tests.toml."""
    if code in seen_by_scenarios():
        return
    assert code in LISTED, f"no scenario sees {code} in COVERAGE.md, and no test is listed for it"
    file, _, name = LISTED[code].partition("::")
    path = ROOT / file
    names = {
        node.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in names, f"{LISTED[code]} does not exist"
    assert code in path.read_text(), f"{file} never names {code}"


def test_the_list_holds_only_what_no_scenario_sees():
    """A code that a scenario provokes, or that is gone, is taken off the list."""
    assert set(LISTED) <= set(CATALOGUE) - set(seen_by_scenarios())


def test_the_table_of_coverage_names_what_is_there():
    """A row names codes of the catalogue, and scenarios that exist."""
    named = {name for names in seen_by_scenarios().values() for name in names}
    assert set(seen_by_scenarios()) <= set(CATALOGUE)
    assert named and named - scenarios() == set()


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
