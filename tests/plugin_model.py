"""Fixtures of the real model and the real engines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.model_file import model_path

NO_BINARY = "program: RBEE_TEST_LLAMA_SERVER names no llama-server"


@pytest.fixture(scope="session")
def model_file() -> Path:
    """The GGUF of SmolLM2-135M-Instruct."""
    return model_path()


@pytest.fixture(scope="session")
def llama_server() -> str:
    """Path of a real `llama-server`; tests that need one are skipped without it."""
    path = os.environ.get("RBEE_TEST_LLAMA_SERVER", "")
    if not path:
        pytest.skip(NO_BINARY)
    return path
