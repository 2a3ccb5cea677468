"""Every mutant can be made, and its test is there: what is named and gone proves nothing."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
MUTANTS = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())["mutant"]
ROOMS = {"errors", "policy", "wire", "edge", "models", "worker", "hive", "queen", "keeper"}


def test_mutants_are_many_and_in_all_rooms() -> None:
    """Thirty at least, each with a name of its own."""
    names = [one["name"] for one in MUTANTS]

    assert len(names) == len(set(names)) >= 30
    assert {Path(one["file"]).parts[2] for one in MUTANTS} == ROOMS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one["name"])
def test_a_mutant_can_be_made(mutant: dict[str, str]) -> None:
    """Its text stands in its file once, and what it becomes is another text that can be read."""
    whole = (ROOT / mutant["file"]).read_text()

    assert whole.count(mutant["text"]) == 1
    assert mutant["becomes"] != mutant["text"]
    ast.parse(whole.replace(mutant["text"], mutant["becomes"]))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one["name"])
def test_the_test_of_a_mutant_is_there(mutant: dict[str, str]) -> None:
    """A function of that name in that file, or a scenario of that name in that feature."""
    assert ("test" in mutant) != ("scenario" in mutant)
    if "scenario" in mutant:
        feature, _, name = mutant["scenario"].partition(": ")
        lines = (ROOT / "test-harness/bdd/features" / feature).read_text().splitlines()
        assert f"Scenario: {name}" in {line.strip() for line in lines}
        return
    file, _, name = mutant["test"].partition("::")
    tree = ast.parse((ROOT / file).read_text())

    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("mutate", str(ROOT / "scripts" / "mutate"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, loader.name, module)  # where dataclasses look
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "test", "outcome"),
    [
        ("return 1", "test_one", "killed"),
        ("return 2", "test_one", "survived"),
        ("return 1", "test_three", "no test ran"),
        ("return 3", "test_one", "its text stands 0 times"),
        ("return", "test_one", "its text stands 2 times"),
    ],
)
def test_what_becomes_of_a_mutant_is_told(
    script: ModuleType, tmp_path: Path, text: str, test: str, outcome: str
) -> None:
    """Killed, survived, or nothing proved; and the copy is whole again."""
    source = "def one():\n    return 1\n\n\ndef two():\n    return 2\n"
    (tmp_path / "made.py").write_text(source)
    (tmp_path / "test_made.py").write_text(
        "import made\n\n\ndef test_one():\n    assert made.one() == 1\n"
    )
    mutant = script.Mutant("m", "made.py", text, "return 7", test=f"test_made.py::{test}")

    assert script.outcome_of(mutant, tmp_path).startswith(outcome)
    assert (tmp_path / "made.py").read_text() == source
