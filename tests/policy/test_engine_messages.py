"""The table of messages against the real engines: what was recorded still happens.

The whole table is made again by `python -m tests.recorded_deaths`; here a few cases, as they are.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rbee.policy.engine_messages import ROWS
from tests.plugin_model import NO_BINARY, model_file
from tests.recorded_deaths import CASES, Case, bring_about, classify

__all__ = ["model_file"]

_AGAIN = (
    "zero_length",
    "html_page",
    "one_byte_short",
    "architecture_unknown",
    "token_twice",
    "nan_in_a_block",
    "missing",
    "port taken",
    "unknown flag",
    "context of 800,000 tokens in 3 GB",
    "killed",
)


@pytest.mark.parametrize("engine", ["llama-cpp", "llama-server"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in _AGAIN], ids=lambda case: case.name
)
def test_a_death_brought_about_now_is_told_as_recorded(
    case: Case, engine: str, model_file: Path, tmp_path: Path
) -> None:
    """A new engine that words things differently fails here, before it fails users."""
    if engine == "llama-server" and not os.environ.get("RBEE_TEST_LLAMA_SERVER"):
        pytest.skip(NO_BINARY)
    death = classify(*bring_about(case, engine, tmp_path, model_file))
    assert death.code == case.code, death


def test_names_are_unique() -> None:
    """A row is spoken of by its name."""
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))
