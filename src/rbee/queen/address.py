"""Where a worker listens and what it is told on top of a request: the only place that knows."""

from __future__ import annotations

from functools import lru_cache

from rbee.edge.http_client import Endpoint
from rbee.wire.control import WorkerView


def endpoint_of(worker: WorkerView) -> Endpoint:
    return Endpoint(worker.host, worker.port, worker.tls)


def path_of(worker: WorkerView, path: str) -> str:
    """The path of ours as this worker has it."""
    return worker.base + path.removeprefix("/v1") if worker.base != "/v1" else path


def headers_of(worker: WorkerView) -> tuple[tuple[str, str], ...]:
    return _headers(endpoint_of(worker), worker.key)


@lru_cache(maxsize=1024)
def _headers(endpoint: Endpoint, key: str) -> tuple[tuple[str, str], ...]:
    headers = (("host", endpoint.authority), ("content-type", "application/json"))
    return (*headers, ("authorization", f"Bearer {key}")) if key else headers
