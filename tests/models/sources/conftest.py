"""A server on loopback that stands for the sources, and a way to them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from rbee.edge.web import Web
from rbee.policy import fetching
from rbee.settings import Timing
from tests.file_server import FileServer, file_server


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between tries are those of `policy.fetching`, divided by 20."""
    monkeypatch.setattr(fetching, "FIRST_S", 0.005)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No proxy, key, index or folder of this machine takes part."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("HF_", "PIP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as found:
        yield found


@pytest.fixture
def web() -> Web:
    return Web("tiny", Timing(download_stall_s=20))


def fetched(web: Web, remote) -> bytes:
    """What lies at the address that a source gave."""
    with web.open(remote.url, remote.headers, stall_s=5) as reply:
        assert reply.status == 200
        return b"".join(iter(lambda: reply.read(65536), b""))
