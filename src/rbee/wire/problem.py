"""How an error looks on the wire: the one place where errors become HTTP.

The body is OpenAI's shape with our facts beside it. `type` uses OpenAI's words
and the status decides which class an SDK raises. `x-should-retry: false` keeps SDKs from repeating
what would fail again (docs/measured.md: both OpenAI SDKs and LiteLLM obey it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rbee.errors import RbeeError, Report, Retry
from rbee.wire.control import Problem

RETRY_AFTER_CAP_S = 120
"""openai-python gives up on a larger Retry-After; the true value stands in the body."""

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}

_PRIVATE_FACTS = frozenset({"path", "expected", "actual"})
"""Facts that never leave over HTTP."""


def to_problem(report: Report) -> Problem:
    """A report as it crosses a control socket."""
    return Problem(
        code=report.code,
        message=report.message,
        action=report.action,
        means=report.means,
        status=report.status,
        exit=report.exit,
        retry=report.retry.value,
        details=dict(report.details),
    )


def from_problem(problem: Problem) -> RbeeError:
    """The error on this side; a retry word of a newer peer counts as `never`."""
    known = {retry.value: retry for retry in Retry}
    return RbeeError.from_report(
        Report(
            code=problem.code,
            message=problem.message,
            action=problem.action,
            means=problem.means,
            status=problem.status,
            exit=problem.exit,
            retry=known.get(problem.retry, Retry.NEVER),
            details=problem.details,
        )
    )


def body(
    report: Report,
    *,
    job_id: str | None = None,
    attempts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The JSON object that a client gets, `{"error": {…}}`; no path, key or prompt inside."""
    details = {
        name: value
        for name, value in report.details.items()
        if name not in _PRIVATE_FACTS or report.code in ("ROUTE_NOT_FOUND", "METHOD_NOT_ALLOWED")
    }
    return {
        "error": {
            "message": report.message,
            "type": _TYPES.get(report.status, "server_error"),
            "param": report.details.get("param"),
            "code": report.code,
            "retryable": report.retry is not Retry.NEVER,
            "retry_after_s": report.details.get("retry_after_s"),
            "action": report.action,
            "means": report.means,
            "details": details,
            "job_id": job_id,
            "attempts": list(attempts),
        }
    }


def anthropic_body(report: Report, *, job_id: str | None = None) -> dict[str, Any]:
    """The same error for `/v1/messages`, whose SDK reads another envelope."""
    inner = body(report, job_id=job_id)["error"]
    words = {"server_error": "api_error", "timeout_error": "timeout_error"}
    return {"type": "error", "error": {**inner, "type": words.get(inner["type"], inner["type"])}}


def headers(report: Report, *, spent: bool = False) -> list[tuple[str, str]]:
    """Headers that tell an SDK what to do. `spent`: our own retries are used up."""
    found: list[tuple[str, str]] = []
    if report.retry is Retry.NEVER or spent:
        found.append(("x-should-retry", "false"))
    if report.status == 401:
        found.append(("www-authenticate", "Bearer"))
    if report.status == 405:
        # RFC 9110 15.5.6 wants it; HEAD goes wherever GET goes, and a preflight everywhere.
        allowed = [*report.details["allowed"], "OPTIONS"]
        allowed += ["HEAD"] if "GET" in allowed else []
        found.append(("allow", ", ".join(sorted(allowed))))
    after_s = report.details.get("retry_after_s")
    if after_s is not None:
        whole_s = max(1, math.ceil(float(after_s)))
        found.append(("retry-after", str(min(RETRY_AFTER_CAP_S, whole_s))))
    return found


def header_text(text: str) -> str:
    """A sentence as a header may carry it: ASCII on one line; names of GPUs have a ™ in them."""
    plain = text.encode("ascii", "replace").decode("ascii")
    return " ".join("".join(one if one.isprintable() else " " for one in plain).split())


def encode(value: object) -> bytes:
    return msgspec.json.encode(value)
