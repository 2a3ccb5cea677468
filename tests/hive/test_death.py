"""Promises about causes: what we did is no crash, and who killed is asked of the kernel."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from rbee.edge.child import find, spawn
from rbee.hive.death import hung, late, mismatched, quarantined, told_or_found
from rbee.hive.worker_folder import WorkerFolder
from rbee.hive.worker_run import WorkerRun
from rbee.policy.restart import Quarantine
from rbee.wire.control import ModelWish, Problem
from rbee.wire.lifeline import WorkerSpec

WISH = ModelWish("m", "m:1")
SPEC = WorkerSpec(id="w1", model="m", path="/m", lifeline="/l", log="/log")
CORRUPTED = Problem("MODEL_CORRUPTED", "it is short")


def _cause(tmp_path: Path, number: int, said: Problem | None) -> Problem:
    async def run() -> Problem:
        folder = WorkerFolder.create(tmp_path / "workers", "w1")
        child = spawn([sys.executable, "-c", "import time; time.sleep(600)"], log=folder.log)
        worker = WorkerRun(folder, SPEC, "key", child, degraded="")
        worker.said = said
        os.killpg(child.pid, number)
        await child.wait()
        found = told_or_found(WISH, worker)
        await worker.clean(tmp_path / "kept")
        return found

    return asyncio.run(run())


def test_its_own_word_on_a_load_is_better_than_its_signal(tmp_path: Path) -> None:
    """The worker read the engine's log while it was whole."""
    assert _cause(tmp_path, signal.SIGABRT, CORRUPTED) is CORRUPTED


def test_its_own_word_on_who_killed_is_not_heard(tmp_path: Path) -> None:
    """A worker sees SIGKILL and cannot know of whom: the kernel's counters do."""
    guess = Problem("WORKER_KILLED", "a guess")
    found = _cause(tmp_path, signal.SIGKILL, guess)
    assert found is not guess and found.code == "WORKER_KILLED"


def test_a_worker_of_an_earlier_hive_that_is_killed_is_no_crash(tmp_path: Path) -> None:
    """How it ended only its parent could know, and that is gone."""

    async def run() -> Problem:
        folder = WorkerFolder.create(tmp_path / "workers", "w1")
        theirs = spawn([sys.executable, "-c", "import time; time.sleep(600)"], log=folder.log)
        child = find(theirs.pid, theirs.started_at)
        assert child is not None
        worker = WorkerRun(folder, SPEC, "key", child, degraded="")
        os.killpg(child.pid, signal.SIGKILL)
        await theirs.wait()
        await child.wait()
        found = told_or_found(WISH, worker)
        await worker.clean(tmp_path / "kept")
        return found

    assert asyncio.run(run()).code == "WORKER_KILLED"


def test_without_a_word_the_signal_tells(tmp_path: Path) -> None:
    """SIGSEGV is named."""
    found = _cause(tmp_path, signal.SIGSEGV, None)
    assert found.code == "WORKER_CRASHED" and "SIGSEGV" in found.message


def test_limits_are_called_by_their_names() -> None:
    """Load, start and adoption blame somebody; a drain that takes too long does not."""
    codes = {
        phase: error.code if (error := late(WISH, "w1", phase, 2.0)) else ""
        for phase in ("load", "start", "adoption", "drain")
    }
    assert codes == {
        "load": "LOADING_TIMEOUT",
        "start": "WORKER_START_TIMEOUT",
        "adoption": "WORKER_START_TIMEOUT",
        "drain": "",
    }


def test_what_we_end_it_for_is_told_with_its_facts() -> None:
    """How long it was silent, which version it is of, what it crashed of."""
    assert hung(WISH, "w1", 5.04).facts["silent_s"] == 5.0
    assert "9.9" in str(mismatched("9.9"))
    given_up = quarantined(WISH, Quarantine(5, 300.0), CORRUPTED)
    assert given_up.code == "WORKER_QUARANTINED" and "it is short" in given_up.message
