"""The page of patterns names only what exists: its files, its scenarios, its parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "test-harness" / "bdd" / "ERROR_PATTERNS.md"
FEATURES = ROOT / "test-harness" / "bdd" / "features"
PARTS = ("When", "How", "Where", "Numbers", "Without it", "Proved by")
PAGE_LINES = 50
"""Of one pattern: what is longer is read by nobody at 3 a.m."""

_PATH = re.compile(r"`([\w./-]+\.(?:py|md|toml))`|\]\(([\w./-]+)\)")
_PROOF = re.compile(r"`(\w+\.feature)`:\s+\*([^*]+)\*")
_NAMED = re.compile(r"`(\w+\.feature)`")
_SCENARIO = re.compile(r"^\s*Scenario(?: Outline)?: (.+)$", re.MULTILINE)
_REPORT = re.compile(r"#\d+")


def sections() -> dict[str, str]:
    """The text of each pattern, by its name."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def missing_files(text: str) -> list[str]:
    """Named files that neither the tree nor `src/rbee` has."""
    roots = (ROOT, ROOT / "src" / "rbee", PAGE.parent)
    named = [first or second for first, second in _PATH.findall(text)]
    return [name for name in named if not any((root / name).is_file() for root in roots)]


def missing_scenarios(text: str) -> list[str]:
    """Named scenarios that their feature does not have."""
    return [
        f"{feature}: {name}"
        for feature, name in _PROOF.findall(text)
        if " ".join(name.split()) not in scenarios(feature)
    ]


def scenarios(feature: str) -> set[str]:
    path = FEATURES / feature
    return set(_SCENARIO.findall(path.read_text())) if path.is_file() else set()


def test_the_page_has_its_patterns() -> None:
    """A page whose headings are lost would pass every other test here."""
    assert len(sections()) >= 13


@pytest.mark.parametrize("pattern", sections())
def test_a_pattern_has_all_its_parts(pattern: str) -> None:
    """In their order, with a report from the field, and short."""
    text = sections()[pattern]
    where = [text.find(f"- **{part}.**") for part in PARTS]

    assert -1 not in where and where == sorted(where)
    assert _REPORT.search(text[where[4] : where[5]])
    assert len(text.splitlines()) <= PAGE_LINES


@pytest.mark.parametrize("pattern", sections())
def test_what_a_pattern_names_exists(pattern: str) -> None:
    """Each file, and each scenario under its exact name; each feature that is named has one."""
    text = sections()[pattern]
    proofs = text[text.find("- **Proved by.**") :]

    assert not missing_files(text)
    assert not missing_scenarios(proofs)
    assert len(_PROOF.findall(proofs)) == len(_NAMED.findall(text)) > 0


def test_what_does_not_exist_is_found() -> None:
    """The look itself can fail: on a file, a scenario, a feature."""
    assert missing_files("`policy/breaker.py`, `policy/no_such.py`") == ["policy/no_such.py"]
    wrong = "`workers.feature`: *A worker that never was*; `nowhere.feature`: *Two replicas*"
    assert missing_scenarios(wrong) == [
        "workers.feature: A worker that never was",
        "nowhere.feature: Two replicas",
    ]
