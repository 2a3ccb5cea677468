"""Promises of /openapi.json: it tells every route, and nothing that is not so."""

from __future__ import annotations

import json
import re
from typing import Any

from rbee.queen.openapi import TOLD, document, shown_as
from rbee.queen.route_table import ROUTES

METHODS = {"get", "post", "delete"}


def test_every_method_of_every_route_is_told() -> None:
    """And no other is."""
    told = {
        (method.upper(), path)
        for path, item in document()["paths"].items()
        for method in METHODS & set(item)
    }
    served = {
        (method, one)
        for path, route in ROUTES.items()
        for one in shown_as(path)
        for method in route.methods
    }
    # A stream of a job is only followed.
    assert told == served - {("DELETE", "/v1/jobs/{id}/stream")}
    assert told == set(TOLD)


def test_every_shape_that_is_named_is_there() -> None:
    """And none is left over."""
    whole = document()
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(whole)))
    assert named == set(whole["components"]["schemas"])


def test_who_may_call_is_told() -> None:
    """Open without a key, with one if there are any, or with an admin's."""
    paths = document()["paths"]
    assert paths["/health"]["get"]["security"] == []
    assert "security" not in paths["/v1/models"]["get"]
    assert {} in document()["security"]
    assert {} not in paths["/rbee/shutdown"]["post"]["security"]


def operations() -> list[dict[str, Any]]:
    return [item[method] for item in document()["paths"].values() for method in METHODS & set(item)]


def test_errors_have_their_shape_everywhere() -> None:
    """Of the dialect that the route speaks."""
    shapes = [
        one["responses"]["default"]["content"]["application/json"]["schema"]["$ref"]
        for one in operations()
    ]
    assert {shape.rsplit("/", 1)[1] for shape in shapes} == {"Error", "AnthropicError"}


def test_every_body_is_read_by_somebody() -> None:
    """A POST without a body is one that reads none."""
    bare = [path for (method, path), told in TOLD.items() if method == "POST" and not told.body]
    assert bare == ["/rbee/resume"]


def test_it_is_small() -> None:
    """It can be written as JSON, and is small enough to be asked for often."""
    assert len(json.dumps(document())) < 100_000
