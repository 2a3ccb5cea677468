"""Promises about failures of GPUs, from the engine's source: no GPU is at hand here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rbee.policy import crashes
from rbee.policy.gpu_messages import GPU_HINTS, GPU_ROWS
from tests.recorded_deaths import classify

SOURCE = tomllib.loads(
    (Path(__file__).parent / "fixtures" / "engine_source.toml").read_text(encoding="utf-8")
)
MESSAGES: list[dict[str, str]] = SOURCE["message"]
_APIS = r"(?:CUDA|ROCm|MUSA)"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: one["line"][:50])
def test_a_message_of_the_source_is_told_in_our_words(message: dict[str, str]) -> None:
    """The engine aborts behind it; code and cause are those of its row."""
    lines = ("0.00.003.451 I srv load_model: loading model '/models/m'", message["line"])
    death = classify(-6, lines)
    assert (death.code, death.cause) == (message["code"], message["cause"])
    assert death.line == " ".join(message["line"].split())


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: one["line"][:50])
def test_a_line_is_what_its_text_prints(message: dict[str, str]) -> None:
    """Nobody made a line up: the engine's format string, with values in it, prints it."""
    pattern = re.escape(message["text"])
    pattern = re.sub(r"%(?:\\[.\w]+|8\\\.2f|\\\.2f|zu|[sdf])", ".+?", pattern)
    assert re.search(pattern.replace("GGML_CUDA_NAME", _APIS), message["line"]), pattern


def test_every_row_has_a_source() -> None:
    """No row without file and build, no source without a row."""
    rows = {row.name for row in (*GPU_ROWS, *GPU_HINTS)}
    assert {message["row"] for message in MESSAGES} == rows
    assert SOURCE["build"] and all(re.search(r":\d+$", one["file"]) for one in MESSAGES)


def test_a_hint_gives_way_to_a_cause() -> None:
    """An engine that goes on without its GPU and then finds a damaged file died of the file."""
    lines = (
        "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected",
        "0.00.004.874 E gguf_init_from_reader: failed to read magic",
    )
    assert classify(1, lines).code == "MODEL_CORRUPTED"


def test_a_gpu_that_fails_is_a_crash_that_counts() -> None:
    """The error carries what a person needs: model, worker, cause, line, signal."""
    facts: dict[str, Any] = {"log_tail": ("CUDA error: unspecified launch failure",)}
    death = crashes.classify(
        returncode=None, signal=6, oom_kills=0, asked=False, model="m", worker="w1", **facts
    )
    error = death.error()
    assert error.code == "GPU_ERROR"
    assert error.facts["signal"] == 6
    assert "unspecified launch failure" in str(error)
