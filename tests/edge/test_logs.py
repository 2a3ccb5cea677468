"""Promises about log lines."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rbee.edge.logs import Log


def test_a_line_is_json_with_level_time_and_process(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line is one JSON object that says when, how bad, and who."""
    Log("hive").bind(worker="w1").warning("worker died", pid=7, problem=ValueError("no"))
    line = json.loads(capsys.readouterr().err)
    assert line["process"] == "hive" and line["level"] == "warning" and line["worker"] == "w1"
    assert line["event"] == "worker died" and line["pid"] == 7 and line["timestamp"]


def test_no_secret_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys and prompts never reach a log, whatever their value."""
    Log("hive").info("x", key="s3cret", api_key="s3cret", prompt="s3cret", monkey="visible")
    text = capsys.readouterr().err
    assert "s3cret" not in text
    assert "visible" in text


def test_levels_below_the_chosen_one_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """A log of level warning has no info."""
    log = Log("hive", "warning")
    log.debug("a")
    log.info("b")
    log.error("c")
    assert [json.loads(one)["event"] for one in capsys.readouterr().err.splitlines()] == ["c"]


def test_importing_it_is_cheap() -> None:
    """structlog comes with the first line, not with the import."""
    code = "import sys, rbee.edge.logs; print('structlog' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
