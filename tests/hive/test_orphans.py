"""Promises about what an earlier hive left, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbee.edge.process_table import group_members, start_time
from rbee.hive.orphans import find_orphans
from rbee.hive.worker_folder import Birth, WorkerFolder
from rbee.wire.control import ModelWish
from rbee.wire.lifeline import WorkerSpec
from tests.eventually import eventually

WISH = ModelWish("m", "m:1")
FAMILY = (
    "import subprocess, sys, time;"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(flush=True); time.sleep(600)"
)


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", FAMILY], start_new_session=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    if group_members(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def _folder(tmp_path: Path, pid: int, started_at: float) -> WorkerFolder:
    folder = WorkerFolder.create(tmp_path / "workers", "w1")
    folder.write(WorkerSpec(id="w1", model="m", path="/m", lifeline="/l", log="/log"), "key")
    folder.write_birth(Birth(pid, started_at, WISH, restarts=3, degraded="slow"))
    return folder


def _found(tmp_path: Path) -> list[tuple[str, str, int]]:
    runs = find_orphans(tmp_path / "workers", tmp_path / "kept")
    return [(run.id, run.key, birth.restarts) for run, birth in runs]


def test_a_living_worker_is_found(tmp_path: Path, worker: subprocess.Popen[bytes]) -> None:
    """The very process of the folder is found, with its key and its past."""
    _folder(tmp_path, worker.pid, start_time(worker.pid) or 0.0)
    assert _found(tmp_path) == [("w1", "key", 3)]


def test_a_stranger_with_the_same_pid_is_left_alone(
    tmp_path: Path, worker: subprocess.Popen[bytes]
) -> None:
    """A pid that was used again is neither adopted nor killed; the folder goes."""
    _folder(tmp_path, worker.pid, (start_time(worker.pid) or 0.0) - 100)
    assert _found(tmp_path) == []
    assert len(group_members(worker.pid)) == 2
    assert list((tmp_path / "workers").iterdir()) == []


def test_children_of_a_dead_worker_are_ended(
    tmp_path: Path, worker: subprocess.Popen[bytes]
) -> None:
    """The engine of a worker that died with its hive does not stay."""
    _folder(tmp_path, worker.pid, start_time(worker.pid) or 0.0)
    worker.kill()
    worker.wait()
    assert len(group_members(worker.pid)) == 1
    assert _found(tmp_path) == []
    eventually(lambda: not group_members(worker.pid))


def test_a_half_written_folder_is_removed(tmp_path: Path) -> None:
    """A hive that died while it wrote leaves nothing that stays."""
    WorkerFolder.create(tmp_path / "workers", "w1")
    assert _found(tmp_path) == []
    assert list((tmp_path / "workers").iterdir()) == []
