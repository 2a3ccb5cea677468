"""A skip is a failure in CI, unless it names the kernel feature or the device that is missing."""

from __future__ import annotations

import os

import pytest

ALLOWED_IN_CI = ("kernel:", "device:")
ALLOWED = (*ALLOWED_IN_CI, "privilege:", "program:")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look at every reason once all have run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    allowed = ALLOWED_IN_CI if os.environ.get("CI") else ALLOWED
    wrong = [
        f"{report.nodeid}: {reason(report)}"
        for report in reporter.stats.get("skipped", [])
        if not any(word in reason(report) for word in allowed)
    ]
    if wrong:
        reporter.write_line("skipped without a reason that counts here:", red=True)
        for line in wrong:
            reporter.write_line("  " + line)
        session.exitstatus = 1


def reason(report: pytest.TestReport) -> str:
    """Why a test was skipped."""
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
