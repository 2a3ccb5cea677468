"""A skip says what is missing, and CI misses nothing but kernel features and devices."""

from __future__ import annotations

import pytest

from tests.skips import refusal


@pytest.mark.parametrize(
    ("reason", "elsewhere", "in_ci"),
    [
        ("kernel: no PSI", True, True),
        ("device: no CUDA", True, True),
        ("program: no llama-server", True, False),
        ("privilege: mounting needs root", True, False),
        ("flaky", False, False),
        ("", False, False),
        ("we have no kernel: sorry", False, False),
    ],
)
def test_a_skip_names_what_is_missing(reason, elsewhere, in_ci):
    """Kernel and device anywhere, program and privilege outside CI, nothing else."""
    assert (refusal(reason, in_ci=False) == "") is elsewhere
    assert (refusal(reason, in_ci=True) == "") is in_ci
