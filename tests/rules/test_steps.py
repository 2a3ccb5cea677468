"""The scenarios' own rules: a line of a feature means one step, and a step is there for a line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from pytest_bdd.feature import get_features

from tests.rules.test_house import ROOT, imports, sources

BDD = ROOT / "test-harness" / "bdd"
ALLOWED = {"pytest", "pytest_bdd", "httpx", "psutil", "xllamacpp", "faults", "steps", "soak"} | {
    path.stem for path in BDD.glob("*.py")
}
MAKERS = ("tests.model_file", "tests.damaged_gguf", "tests.models.wheel_index")


@cache
def steps() -> tuple[tuple[str, Any], ...]:
    """Where each step stands, and what it understands."""
    sys.path.insert(0, str(BDD))
    try:
        return tuple(
            (f"steps/{path.name}: {step.parser.name}", step)
            for path in sorted((BDD / "steps").glob("*.py"))
            for step in defined(importlib.import_module(f"steps.{path.stem}"))
        )
    finally:
        sys.path.remove(str(BDD))


def defined(module: Any) -> Iterator[Any]:
    """pytest-bdd hangs a step's words on the fixture that it makes for it."""
    for name, fixture in vars(module).items():
        if name.startswith("pytestbdd_stepdef_"):
            marked = getattr(fixture, "_get_wrapped_function", lambda fixture=fixture: fixture)()
            yield marked()


@cache
def lines() -> dict[tuple[str, str], str]:
    """Every line of every scenario, with the values of each example, and where it is from."""
    found = {}
    for feature in get_features([str(BDD / "features")]):
        for scenario in feature.scenarios.values():
            examples = [values for table in scenario.examples for values in table.as_contexts()]
            for values in examples or [{}]:
                for step in scenario.render(values).steps:
                    found[step.type, step.name] = f"{feature.rel_filename}: {scenario.name}"
    return found


@cache
def fitting() -> dict[tuple[str, str], list[str]]:
    return {
        (kind, words): [
            place
            for place, step in steps()
            if step.type in (None, kind) and step.parser.is_matching(words)
        ]
        for kind, words in lines()
    }


def test_a_line_means_one_step():
    """Two steps that fit the same words hide one another, whichever was read first."""
    wrong = [
        f"{lines()[line]}: {line[1]!r} fits {places}"
        for line, places in fitting().items()
        if len(places) != 1
    ]

    assert not wrong


def test_a_step_is_there_for_a_line():
    """What no scenario says is dead."""
    used = {place for places in fitting().values() for place in places}

    assert [place for place, _ in steps() if place not in used] == []


def test_the_harness_sees_rbee_from_outside_only():
    """Scenarios and the soak import what anybody has: the standard library, pytest, httpx, psutil;
    the engine, for a stand-in that has GPUs; of our own files the harness and the makers of test
    files, and never rbee itself."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("test-harness")
        for name in imports(path)
        if name.split(".")[0] not in ALLOWED | sys.stdlib_module_names and name not in MAKERS
    ]

    assert not wrong


def test_makers_of_test_files_do_not_know_rbee_either():
    """What the harness takes from the unit tests makes files and servers, and asks no code of
    ours."""
    wrong = [
        f"{maker} imports {name}"
        for maker in MAKERS
        for name in imports(ROOT / f"{maker.replace('.', '/')}.py")
        if name.split(".")[0] == "rbee"
    ]

    assert not wrong
