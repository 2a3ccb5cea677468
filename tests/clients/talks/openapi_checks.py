"""What schemathesis checks of each answer beside its schema; loaded by it as SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import json

import schemathesis

CODED = {501: "ENDPOINT_UNSUPPORTED", 503: "", 504: ""}
"""Statuses from 500 on that are answers, and the one code that may stand there (empty: any)."""


@schemathesis.check
def coded(ctx, response, case):
    """Every refusal has a code of the catalogue, and none is a mistake of ours."""
    text = response.content.decode("utf-8", "replace")
    assert "Traceback" not in text, "a traceback"
    if response.status_code < 400:
        return
    error = json.loads(text)["error"]
    assert error["code"] and error["message"] and error["action"], "an error without its words"
    if response.status_code >= 500:
        wanted = CODED.get(response.status_code)
        assert wanted is not None, f"{response.status_code} {error['code']}"
        assert wanted in ("", error["code"]), error["code"]
