"""Promises of errors on the wire."""

from __future__ import annotations

import json

import pytest

from rbee.errors import RbeeError, Report, Retry
from rbee.wire import control
from rbee.wire.problem import (
    RETRY_AFTER_CAP_S,
    anthropic_body,
    body,
    encode,
    from_problem,
    header_text,
    headers,
    to_problem,
)


def queue_full(retry_after_s: float = 7) -> Report:
    return RbeeError(
        "QUEUE_FULL", model="tiny", waiting=100, limit=100, because="", retry_after_s=retry_after_s
    ).report


def test_the_shape_is_openais_with_our_facts_beside():
    """Every key of the contract is there, null where there is nothing to say."""
    error = json.loads(encode(body(queue_full(), job_id="job_1")))["error"]

    assert error == {
        "message": "tiny has 100 requests waiting, and its limit is 100.",
        "type": "server_error",
        "param": None,
        "code": "QUEUE_FULL",
        "retryable": True,
        "retry_after_s": 7,
        "action": "Try again in 7 s, or: rbee serve tiny --replicas 2",
        "means": "Nothing was generated. A place is held for the same request at that time.",
        "details": {
            "model": "tiny",
            "waiting": 100,
            "limit": 100,
            "because": "",
            "retry_after_s": 7,
        },
        "job_id": "job_1",
        "attempts": [],
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (409, "conflict_error"),
        (413, "invalid_request_error"),
        (415, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "server_error"),
        (504, "server_error"),
        (507, "server_error"),
    ],
)
def test_types_are_openais_words(status, kind):
    """SDKs choose their exception class by status and type."""
    assert body(Report("X", "x", status=status))["error"]["type"] == kind


def test_the_attempts_are_told():
    """A give-up names what was tried, not that it was tried often."""
    tried = [{"worker": "w1", "code": "WORKER_KILLED", "after_ms": 812}]

    assert body(queue_full(), attempts=tried)["error"]["attempts"] == tried


def test_the_wrong_parameter_is_named():
    """OpenAI's `param`."""
    report = RbeeError("INVALID_REQUEST", problem="seed is no number", param="seed").report

    assert body(report)["error"]["param"] == "seed"


def test_whoever_lacks_a_key_is_told_how_to_bring_one():
    """RFC 9110 asks for it with each 401, and SDKs are not to try again."""
    found = dict(headers(RbeeError("KEY_MISSING").report))

    assert found == {"x-should-retry": "false", "www-authenticate": "Bearer"}


def test_no_path_or_digest_leaves_over_http():
    """The keeper may print them, a client gets neither in facts nor in sentences."""
    secret = "/home/somebody/model.gguf"
    reports = [
        RbeeError("MODEL_FILE_MISSING", model="m", path=secret).report,
        RbeeError("DISK_READ_ONLY", path=secret).report,
        RbeeError("MODEL_CORRUPTED", model="m", problem="p", expected=secret, actual=secret).report,
    ]

    for report in reports:
        assert secret not in encode(body(report)).decode()
        assert secret not in encode(anthropic_body(report)).decode()


def test_the_route_that_a_client_named_itself_is_told():
    """Only a file's path is private."""
    assert body(RbeeError("ROUTE_NOT_FOUND", path="/v2").report)["error"]["details"] == {
        "path": "/v2"
    }


def test_what_never_helps_is_not_retried_by_sdks():
    """`x-should-retry: false` on each NEVER, and once our own retries are spent."""
    never = RbeeError("ROUTE_NOT_FOUND", path="/v2").report
    lost = RbeeError("WORKER_LOST", model="m", tokens=3, problem="cut").report

    assert ("x-should-retry", "false") in headers(never)
    assert ("x-should-retry", "false") in headers(lost, spent=True)
    assert headers(lost) == []


@pytest.mark.parametrize(
    ("true_s", "header_s"), [(0.0, "1"), (0.4, "1"), (7.4, "8"), (120, "120"), (3600, "120")]
)
def test_retry_after_is_whole_and_capped(true_s, header_s):
    """The header is 1 to 120 whole seconds, rounded up (SDKs give up on more); the body tells the
    truth."""
    report = queue_full(true_s)

    assert headers(report) == [("retry-after", header_s)]
    assert int(header_s) <= RETRY_AFTER_CAP_S
    assert body(report)["error"]["retry_after_s"] == true_s


def test_anthropics_envelope():
    """Its SDK reads `type: error` and its own word for a server's fault."""
    found = anthropic_body(queue_full(), job_id="job_1")

    assert found["type"] == "error"
    assert found["error"]["type"] == "api_error"
    assert found["error"]["code"] == "QUEUE_FULL"
    assert anthropic_body(Report("X", "x", status=429))["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("retry", list(Retry))
def test_an_error_crosses_a_socket_whole(retry):
    """The other side raises the same error."""
    report = Report("X", "says", "do", "means", 507, 137, retry, {"free_bytes": 1, "list": [1]})

    sent = control.encode(control.Failed(call="c", problem=to_problem(report)))
    received = control.decode_from_hive(sent)

    assert isinstance(received, control.Failed)
    assert from_problem(received.problem).report == report


def test_a_retry_word_of_a_newer_peer_counts_as_never():
    """What we do not understand we do not repeat."""
    problem = control.Problem(code="FROM_THE_FUTURE", message="x", retry="when_it_rains")

    assert from_problem(problem).report.retry is Retry.NEVER
    assert from_problem(problem).code == "FROM_THE_FUTURE"


def test_a_method_that_is_not_taken_is_told_which_are():
    """RFC 9110 15.5.6: a 405 without Allow is none. (schemathesis)"""
    error = RbeeError("METHOD_NOT_ALLOWED", path="/x", method="PUT", allowed=["GET", "POST"])

    assert ("allow", "GET, HEAD, OPTIONS, POST") in headers(error.report)


def test_a_sentence_that_goes_into_a_header_is_plain():
    """Whatever an engine or a driver says: no line breaks, nothing that HTTP cannot carry."""
    told = "device=cpu (cuda:0: lost on Radeon™ 780M\r\nx-evil: 1 \0… 90 °C)"
    assert header_text(told) == "device=cpu (cuda:0: lost on Radeon? 780M x-evil: 1 ? 90 ?C)"
