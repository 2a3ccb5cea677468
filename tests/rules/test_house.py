"""The rules of the house, read from the syntax tree: a rule that matters is a test."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from rbee.errors.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "rbee"

LEVELS = {
    "errors": 0,
    "version": 0,
    "policy": 1,
    "wire": 1,
    "settings": 1,
    "edge": 2,
    "models": 3,
    "worker": 4,
    "hive": 4,
    "queen": 4,
    "keeper": 4,
}
IMPURE = {"asyncio", "time", "random", "os", "socket", "subprocess", "threading"}
BANNED_NAMES = {"utils", "helpers", "common", "misc", "manager", "base"}
FILE_LINES, FUNCTION_LINES = 400, 60


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def room(path: Path) -> str:
    part = path.relative_to(SRC).parts[0]
    return part.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_imports_go_downward_only():
    """A room imports lower rooms; queen, hive, worker and keeper meet in `wire` alone."""
    wrong = []
    for path in sources("src/rbee"):
        own = room(path)
        for name in imports(path):
            if not name.startswith("rbee.") or own == "__init__":
                continue
            other = name.split(".")[1]
            if other != own and LEVELS[other] >= LEVELS[own] and LEVELS[own] != 1:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            if LEVELS[own] == 1 and LEVELS[other] > 1:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")

    assert not wrong


def test_decisions_and_shapes_are_pure():
    """On levels 0 and 1 the world is an argument: no clock, dice, socket or process."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("src/rbee")
        if room(path) != "__init__" and LEVELS[room(path)] <= 1
        for name in imports(path)
        if name.split(".")[0] in IMPURE
    ]

    assert not wrong


def test_files_and_functions_are_short():
    """At most 400 lines a file and 60 a function."""
    wrong = []
    for path in sources("src", "tests", "test-harness", "bench"):
        if len(path.read_text().splitlines()) > FILE_LINES:
            wrong.append(str(path.relative_to(ROOT)))
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    wrong.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")

    assert not wrong


def test_names_say_what_things_are():
    """No file and no class is called after nothing."""
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources("src", "tests", "test-harness", "bench")
        for name in (path.stem, *classes(path))
        if any(part in BANNED_NAMES for part in words(name))
    ]

    assert not wrong


def classes(path: Path) -> Iterator[str]:
    return (node.name for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))


def words(name: str) -> list[str]:
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    return spaced.replace("_", " ").split()


def test_no_error_is_swallowed():
    """An `except` names what it expects; catching everything must do something with it."""
    wrong = []
    for path in sources("src"):
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            if broad and all(isinstance(line, ast.Pass | ast.Continue) for line in node.body):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")

    assert not wrong


def test_tests_do_not_sleep():
    """Tests wait for a condition with a limit; only `eventually` may sleep between looks."""
    wrong = []
    for path in sources("tests", "test-harness"):
        if path.name == "eventually.py":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                zero = node.args and isinstance(node.args[0], ast.Constant)
                zero = zero and node.args[0].value == 0
                if node.func.attr == "sleep" and not zero:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")

    assert not wrong


def test_every_test_states_its_promise():
    """A test's docstring is what it promises."""
    wrong = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert not wrong


def test_the_tree_names_no_place_of_the_workshop():
    """No package registry's host, no path of a machine, nothing left to do."""
    forbidden = [
        *("pypi" + ".org", "files.pythonhosted" + ".org", "registry.npmjs" + ".org"),
        *("deb.debian" + ".org", "/" + "work/", "/" + "farm/", "TO" + "DO", "FIX" + "ME"),
    ]
    wrong = []
    for path in tracked():
        if path.name == "LICENSE" or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        wrong += [f"{path.relative_to(ROOT)}: {word}" for word in forbidden if word in text]

    assert not wrong


@cache
def strings_of_src() -> frozenset[str]:
    """Every string literal outside the catalogue."""
    return frozenset(
        node.value
        for path in sources("src/rbee")
        if "catalogue" not in path.parts
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_is_raised_somewhere(code):
    """A code that nothing raises is decoration: it is deleted."""
    assert code in strings_of_src()


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_is_provoked(code):
    """Each code is provoked by a scenario, or by a test named in provoked_by_tests.toml."""
    features = (ROOT / "test-harness" / "bdd" / "features").glob("*.feature")
    if any(code in path.read_text().split() for path in features):
        return
    table = tomllib.loads((Path(__file__).parent / "provoked_by_tests.toml").read_text())
    assert code in table, f"no scenario names {code}, and no test is listed for it"
    file, _, name = table[code].partition("::")
    path = ROOT / file
    names = {node.name for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)}
    assert name in names, f"{table[code]} does not exist"
    assert code in path.read_text(), f"{file} never names {code}"
