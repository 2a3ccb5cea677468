"""Where a worker listens and what it is told on top of a request: the only place that knows."""

from __future__ import annotations

from rbee.edge.http_client import Endpoint
from rbee.wire.control import WorkerView


def endpoint_of(worker: WorkerView) -> Endpoint:
    return Endpoint(worker.host, worker.port, worker.tls)


def path_of(worker: WorkerView, path: str) -> str:
    """The path of ours as this worker has it."""
    return worker.base + path.removeprefix("/v1") if worker.base != "/v1" else path


def headers_of(worker: WorkerView) -> list[tuple[str, str]]:
    headers = [
        ("host", endpoint_of(worker).authority),
        ("content-type", "application/json"),
    ]
    if worker.key:
        headers.append(("authorization", f"Bearer {worker.key}"))
    return headers
