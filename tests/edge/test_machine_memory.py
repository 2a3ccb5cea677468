"""Promises about memory: the machine's, and a control group's where that is less."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from rbee.edge.cgroups import Place
from rbee.edge.machine_memory import look, private_bytes

STAT_V1 = "cache 50\ntotal_inactive_file 300\ntotal_active_file 200\n"
STAT_V2 = "anon 4000\ninactive_file 300\nactive_file 200\n"


def test_without_a_limit_the_machine_counts() -> None:
    """Total and available as the kernel has them."""
    found = look(Place())
    assert found.total_bytes == psutil.virtual_memory().total
    assert 0 < found.available_bytes <= found.total_bytes


def test_a_limit_of_v1_counts(tmp_path: Path) -> None:
    """Recorded tree: 10,000 bytes, 6,000 used, 500 of them file pages that are given back."""
    (tmp_path / "memory.limit_in_bytes").write_text("10000\n")
    (tmp_path / "memory.usage_in_bytes").write_text("6000\n")
    (tmp_path / "memory.stat").write_text(STAT_V1)
    found = look(Place(memory=tmp_path, version=1))
    assert (found.total_bytes, found.available_bytes) == (10_000, 4_500)


def test_a_limit_of_v2_counts(tmp_path: Path) -> None:
    """Recorded tree: the same with the names of v2."""
    (tmp_path / "memory.max").write_text("10000\n")
    (tmp_path / "memory.current").write_text("6000\n")
    (tmp_path / "memory.stat").write_text(STAT_V2)
    found = look(Place(memory=tmp_path, version=2))
    assert (found.total_bytes, found.available_bytes) == (10_000, 4_500)


def test_no_limit_in_a_group_is_the_machine(tmp_path: Path) -> None:
    """v2 says `max`, v1 an impossible number."""
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("6000\n")
    assert look(Place(memory=tmp_path, version=2)).total_bytes == psutil.virtual_memory().total


def test_private_memory_leaves_out_what_is_mapped() -> None:
    """Less than resident, more than nothing; a process that is gone holds nothing."""
    resident = psutil.Process().memory_info().rss
    assert 0 < private_bytes(os.getpid()) < resident
    assert private_bytes(1 << 30) == 0
