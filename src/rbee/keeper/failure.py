"""How an error looks on a screen: what happened, what it means, what to type, CODE · job."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Mapping
from typing import Any

from rbee.errors import RbeeError, Report, Retry
from rbee.keeper.exits import exit_code
from rbee.keeper.render import Screen

_EXIT_BY_STATUS = {400: 2, 401: 1, 403: 1, 404: 1, 408: 124, 504: 124}


class JobError(RbeeError):
    """An error that came in an answer, with the job that it ended."""

    job_id: str = ""


def error_from(body: Any, *, status: int = 500) -> RbeeError:
    """The error that rbee sent, `{"error": {…}}`; anything else is told as it is."""
    said = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(said.get("code"), str):
        return RbeeError("INTERNAL", problem=f"an answer of status {status} that rbee cannot read")
    code, details = said["code"], said.get("details")
    error = JobError.from_report(
        Report(
            code=code,
            message=str(said.get("message") or code),
            action=str(said.get("action") or ""),
            means=str(said.get("means") or ""),
            status=status,
            exit=_exit_of(code, status),
            retry=_retry_of(code),
            details=dict(details) if isinstance(details, Mapping) else {},
        )
    )
    assert isinstance(error, JobError)
    error.job_id = str(said.get("job_id") or "")
    return error


def show(error: RbeeError, screen: Screen) -> int:
    """Print it on stderr; returns the exit code."""
    report = error.report
    job = error.job_id if isinstance(error, JobError) else ""
    if screen.json:
        screen.fact({"error": as_facts(report, job)})
        return exit_code(report)
    screen.clear()
    screen.mark("failed", report.message)
    if report.means:
        screen.line(f"  {report.means}")
    if report.action:
        screen.line(f"  {screen.marks.then} {report.action}")
    screen.line(f"  {report.code}" + (f" · {job}" if job else ""))
    return exit_code(report)


def as_facts(report: Report, job: str = "") -> dict[str, Any]:
    """The same as an object."""
    return {
        "code": report.code,
        "message": report.message,
        "means": report.means,
        "action": report.action,
        "details": {name: _plain(value) for name, value in report.details.items()},
        "exit": exit_code(report),
        "job_id": job or None,
    }


def show_exception(exc: Exception, *, json: bool) -> int:
    """Any exception that reached the top: never a traceback on a screen."""
    screen = Screen.on(sys.stderr, json=json)
    if isinstance(exc, RbeeError):
        return show(exc, screen)
    where = _write_down(exc)
    problem = (
        f"{type(exc).__name__}, written to {where}" if where else f"{type(exc).__name__}: {exc}"
    )
    return show(RbeeError("INTERNAL", problem=problem), screen)


def _write_down(exc: Exception) -> str:
    """The traceback goes to a log that `rbee logs` shows; empty if it cannot be written."""
    import os
    import time
    import traceback

    from rbee.edge.home import Home, default_home

    path = Home(default_home()).logs / "keeper.log"
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        large = path.exists() and path.stat().st_size > 1 << 20
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if large else os.O_APPEND)
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as log:
            log.write(json_text.dumps({"at": when, "event": "mistake"}) + "\n")
            log.write("".join(traceback.format_exception(exc)))
    except OSError:
        return ""
    return str(path)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)


def _exit_of(code: str, status: int) -> int:
    from rbee.errors.catalogue import CATALOGUE

    row = CATALOGUE.get(code)
    return row.exit if row is not None else _EXIT_BY_STATUS.get(status, 1)


def _retry_of(code: str) -> Retry:
    from rbee.errors.catalogue import CATALOGUE

    row = CATALOGUE.get(code)
    return row.retry if row is not None else Retry.NEVER
