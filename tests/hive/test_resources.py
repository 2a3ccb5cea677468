"""Promises about what runs low here, with real limits."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from rbee.hive.resources import Resources
from rbee.wire.control import Happened


def test_a_full_disk_is_told_once_and_its_end_too(tmp_path: Path) -> None:
    """A reserve that this disk cannot have is low; a small one is not."""
    reserve, told = [1 << 60], list[Happened]()
    watch = Resources(tmp_path, lambda: reserve[0], told.append, proc=tmp_path)
    watch.look()
    watch.look()
    reserve[0] = 0
    watch.look()
    assert [(one.code, one.outcome) for one in told] == [
        ("RESOURCES_LOW", "open"),
        ("RESOURCES_LOW", "ok"),
    ]
    assert "disk" in told[0].what and "enough" in told[1].done


@pytest.mark.parametrize("spare", [-1, 2])
def test_open_files_are_counted_against_the_limit(tmp_path: Path, spare: int) -> None:
    """The soft limit of this process, as it is now; also when not one more can be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    told: list[Happened] = []
    watch = Resources(tmp_path, lambda: 0, told.append, proc=tmp_path)
    in_use = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + spare, before[1]))
    try:
        watch.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [one.outcome for one in told] == ["open"]
    assert "open files" in told[0].what


def test_a_folder_that_is_gone_is_nobodys_fault(tmp_path: Path) -> None:
    """Whoever writes there next is told."""
    told: list[Happened] = []
    Resources(tmp_path / "gone", lambda: 1 << 60, told.append, proc=tmp_path).look()
    assert told == []


def test_a_busy_disk_is_told_and_nobody_has_to_do_anything(tmp_path: Path) -> None:
    """The kernel's word on the last 10 s; it is over once a quarter more is free."""
    stalls = tmp_path / "pressure" / "io"
    stalls.parent.mkdir()
    told: list[Happened] = []
    watch = Resources(tmp_path, lambda: 0, told.append, proc=tmp_path)
    for percent in ("0.00", "79.00", "81.20", "99.00", "78.00", "60.00"):
        stalls.write_text(f"some avg10={percent} avg60=0.00 avg300=0.00 total=1\n")
        watch.look()
    assert [(one.code, one.outcome) for one in told] == [("RESOURCES_LOW", "ok")] * 2
    assert "disks keep nobody waiting (percent) run low on this machine: 19 left" in told[0].what
    assert (told[0].done, "enough" in told[1].done) == ("loads and downloads take longer", True)


def test_a_kernel_that_does_not_say_is_not_guessed_at(tmp_path: Path) -> None:
    """Without PSI nothing is told."""
    told: list[Happened] = []
    Resources(tmp_path, lambda: 0, told.append, proc=tmp_path / "absent").look()
    assert told == []
