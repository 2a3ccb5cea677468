"""Promises of `python -m rbee.worker`."""

from __future__ import annotations

import pytest

from rbee.worker.__main__ import main


@pytest.mark.parametrize("args", [[], ["--nonsense"], ["a", "b"], ["--describe", "a", "b"]])
def test_a_wrong_call_is_usage(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the two ways to call it."""
    assert main(args) == 2
    assert "usage:" in capsys.readouterr().err
