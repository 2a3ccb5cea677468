"""Promises about the folder of a worker process."""

from __future__ import annotations

import os
from pathlib import Path

from rbee.hive.worker_folder import KEPT_LOGS, Birth, WorkerFolder, last_lines
from rbee.wire.control import ModelWish
from rbee.wire.lifeline import WorkerSpec

SPEC = WorkerSpec(id="w1", model="m", path="/m.gguf", lifeline="/l", log="/log")
BIRTH = Birth(pid=7, started_at=1.5, wish=ModelWish("m", "m:1"), restarts=2)


def _folder(tmp_path: Path, name: str = "w1") -> WorkerFolder:
    return WorkerFolder.create(tmp_path / "workers", name)


def test_the_next_hive_reads_what_this_one_wrote(tmp_path: Path) -> None:
    """Spec, key and birth come back equal, and nobody else can read them."""
    folder = _folder(tmp_path)
    folder.write(SPEC, "key")
    folder.write_birth(BIRTH)
    (again,) = WorkerFolder.all_in(tmp_path / "workers")
    assert again.read() == (SPEC, "key", BIRTH)
    for file in folder.path.iterdir():
        assert file.stat().st_mode & 0o077 == 0


def test_a_half_written_folder_is_nobody(tmp_path: Path) -> None:
    """A hive that was killed in mid-write leaves a folder that is seen as such."""
    folder = _folder(tmp_path)
    folder.write(SPEC, "key")
    assert folder.read() is None
    folder.spec_file.write_bytes(b"{")
    folder.write_birth(BIRTH)
    assert folder.read() is None


def test_a_log_is_bounded_and_keeps_its_end(tmp_path: Path) -> None:
    """A log over its limit begins anew; the process appends on; the last lines are still told."""
    folder = _folder(tmp_path)
    descriptor = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for number in range(2000):
            os.write(descriptor, f"line {number}\n".encode())
        folder.bound_log(1 << 20)
        assert folder.log.stat().st_size > 10_000
        folder.bound_log(10_000)
        assert folder.log.stat().st_size == 0
        os.write(descriptor, b"after\n")
    finally:
        os.close(descriptor)
    lines = last_lines(tmp_path / "workers", tmp_path / "kept", "w1", 2)
    assert lines == ["line 1999", "after"]


def test_logs_of_the_dead_are_kept_and_bounded(tmp_path: Path) -> None:
    """A retired folder is gone, its log is told, and only the last ones are kept."""
    kept = tmp_path / "kept"
    for number in range(KEPT_LOGS + 5):
        folder = _folder(tmp_path, f"w{number}")
        folder.log.write_text(f"last word of {number}\n")
        os.utime(folder.log, (number, number))
        folder.retire(kept)
    assert list((tmp_path / "workers").iterdir()) == []
    assert len(list(kept.iterdir())) == KEPT_LOGS
    assert last_lines(tmp_path / "workers", kept, "w24", 5) == ["last word of 24"]
    assert last_lines(tmp_path / "workers", kept, "w0", 5) is None
