"""Promises about the names of worker processes."""

from __future__ import annotations

from pathlib import Path

from rbee.hive.worker_ids import WorkerIds


def test_names_are_new_over_hive_lives(tmp_path: Path) -> None:
    """A hive that starts again goes on counting."""
    file = tmp_path / "number"
    assert [WorkerIds(file).next() for _ in range(3)] == ["w1", "w2", "w3"]


def test_a_lost_counter_starts_behind_what_is_seen(tmp_path: Path) -> None:
    """Without its file, no name of a folder or a kept log is given again."""
    (tmp_path / "workers" / "w7").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "w12.log").touch()
    (tmp_path / "number").write_text("not a number")
    ids = WorkerIds(tmp_path / "number", (tmp_path / "workers", tmp_path / "kept"))
    assert ids.next() == "w13"


def test_a_full_disk_stops_no_restart(tmp_path: Path) -> None:
    """Names go on where the counter cannot be kept."""
    ids = WorkerIds(tmp_path / "absent" / "number")
    assert [ids.next(), ids.next()] == ["w1", "w2"]
