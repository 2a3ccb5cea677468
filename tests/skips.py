"""Which tests may be skipped where: a pure decision, obeyed by the conftest at the root."""

from __future__ import annotations

ANYWHERE = ("kernel:", "device:")
"""The machine cannot have it: a kernel feature or a device is missing."""
NOT_IN_CI = ("program:", "privilege:")
"""CI installs programs and runs as root, so these are missing elsewhere only."""


def refusal(reason: str, *, in_ci: bool) -> str:
    """Why a skip with this reason is a failure; empty: it is allowed."""
    if reason.startswith(ANYWHERE):
        return ""
    if not reason.startswith(NOT_IN_CI):
        kinds = ", ".join(ANYWHERE + NOT_IN_CI)
        return f"skipped without naming what is missing ({kinds}): {reason}"
    return f"skipped in CI, which has all programs and rights: {reason}" if in_ci else ""
