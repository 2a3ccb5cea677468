"""Generated pages are in step with what they are generated from."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def generator():
    path = str(ROOT / "scripts" / "generate_docs")
    loader = importlib.machinery.SourceFileLoader("generate_docs", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["errors.md", "states.md", "corrupt-models.md"])
def test_a_generated_page_is_in_step(page):
    """`make docs` was run after the last change of the catalogue, the tables or the record."""
    assert (ROOT / "docs" / page).read_text() == generator().pages()[page]
