"""For all tests, unit tests and scenarios: which skips count as failures, and a working Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

from tests.skips import refusal


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C and so would every child whose Ctrl-C is tested."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip whose reason is not allowed here is a failure; an expected failure is none."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for whole files."""
    report = yield
    if report.skipped:
        _judge(report)
    return report


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    refused = refusal(reason.removeprefix("Skipped: "), in_ci=bool(os.environ.get("CI")))
    if refused:
        report.outcome = "failed"
        report.longrepr = refused
