"""Where workers are, and what they are told on top of a request."""

from __future__ import annotations

import pytest

from rbee.edge.http_client import Endpoint
from rbee.queen.address import endpoint_of, headers_of, path_of
from rbee.wire.control import WorkerView


def view(**fields: object) -> WorkerView:
    return WorkerView("w", "h", "m", "m", "chat", "READY", **fields)


def test_a_worker_of_ours_is_on_this_machine():
    """Loopback, its own key, the path as it is."""
    worker = view(port=7, key="k")
    assert endpoint_of(worker) == Endpoint("127.0.0.1", 7)
    assert path_of(worker, "/v1/embeddings") == "/v1/embeddings"
    assert dict(headers_of(worker))["authorization"] == "Bearer k"


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"host": "box", "port": 8000}, "box:8000"),
        ({"host": "api.example.com", "port": 443, "tls": True}, "api.example.com"),
        ({"host": "::1", "port": 80}, "[::1]"),
        ({"host": "::1", "port": 81}, "[::1]:81"),
    ],
)
def test_an_attached_server_hears_its_own_name(fields: dict[str, object], host: str):
    """Servers behind one address tell hosts apart by it; without a key none is sent."""
    headers = dict(headers_of(view(engine="attached", base="/api/v1", **fields)))
    assert headers["host"] == host and "authorization" not in headers


def test_its_api_may_stand_below_another_path():
    """Ours is `/v1`, theirs what was attached."""
    worker = view(base="/openai/v1")
    assert path_of(worker, "/v1/chat/completions") == "/openai/v1/chat/completions"
