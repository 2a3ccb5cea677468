"""The niced child: heard while it works, and never outlived by the pip that it starts."""

import asyncio
import os
import signal
import socket
from contextlib import suppress

import psutil
import pytest

from rbee.edge.process_table import has_ended
from rbee.errors import RbeeError
from rbee.models import child
from tests.eventually import soon
from tests.models.test_store import quiet, untroubled

WHEEL = "pypi:nothing-of-that-name==1.0:a/b.gguf"


@pytest.fixture
def silent_index(tmp_path, monkeypatch):
    """A package index that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("RBEE_HOME", str(tmp_path))
        yield


async def pip_of_this_process() -> psutil.Process:
    """The pip that our child started, once it runs."""

    def look() -> psutil.Process | None:
        for process in psutil.Process().children(recursive=True):
            if "pip" in process.cmdline():
                return process
        return None

    found = await soon(look)
    assert found is not None
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_child_leaves_no_pip(silent_index, number):
    """Whoever ends the child, the download ends with it, and INTERNAL says that it died."""

    async def run() -> None:
        pull = asyncio.ensure_future(child.run("pull", WHEEL, quiet, untroubled))
        pip = await pip_of_this_process()
        parent = pip.parent()
        assert parent is not None
        parent.send_signal(number)
        with pytest.raises(RbeeError) as caught:
            await pull
        assert caught.value.code == "INTERNAL"
        assert has_ended(pip.pid)

    asyncio.run(run())


def test_a_child_that_is_told_to_end_again_and_again_ends_quietly(silent_index, capfd):
    """From its hive's death and from its own: the second signal breaks into nothing."""

    async def run() -> None:
        pull = asyncio.ensure_future(child.run("pull", WHEEL, quiet, untroubled))
        parent = (await pip_of_this_process()).parent()
        assert parent is not None
        while not has_ended(parent.pid):
            with suppress(psutil.NoSuchProcess):
                parent.send_signal(signal.SIGTERM)
            await asyncio.sleep(0)
        with pytest.raises(RbeeError):
            await pull

    asyncio.run(run())
    assert "Traceback" not in capfd.readouterr().err


def test_a_cancelled_pull_leaves_nothing(silent_index, tmp_path):
    """Ctrl-C: the child, its pip and the half-made files are gone."""

    async def run() -> None:
        pull = asyncio.ensure_future(child.run("pull", WHEEL, quiet, untroubled))
        pip = await pip_of_this_process()
        pull.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pull
        assert has_ended(pip.pid)

    asyncio.run(run())
    assert not list((tmp_path / "models").glob("fetch-*"))


def test_the_childs_error_is_ours(tmp_path, monkeypatch):
    """What the child says went wrong is raised here, with its facts."""
    monkeypatch.setenv("RBEE_HOME", str(tmp_path))
    with pytest.raises(RbeeError) as caught:
        asyncio.run(child.run("pull", "/nowhere/x.gguf", quiet, untroubled))
    assert caught.value.code == "MODEL_FILE_MISSING"
