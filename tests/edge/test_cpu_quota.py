"""Promises about the processor time of a control group: recorded trees of both versions, and a real
group where one can be made."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from rbee.edge.cpu_quota import quota_cores

MOUNT = "36 25 0:31 / {at} rw - {kind} {kind} rw{options}\n"
ASK = (
    "import sys; sys.stdin.readline(); from rbee.edge.cpu_quota import quota_cores as q; print(q())"
)


def _proc(tmp_path: Path, groups: str, kind: str, options: str = "") -> Path:
    """A /proc of a process in these groups, and the place where its control groups are mounted."""
    process = tmp_path / "proc" / "self"
    process.mkdir(parents=True)
    (process / "cgroup").write_text(groups)
    mounted = MOUNT.format(at=tmp_path / "cgroup", kind=kind, options=options)
    (process / "mountinfo").write_text(mounted)
    return tmp_path / "proc"


def test_v2_bounds_by_the_least_of_all_groups_above(tmp_path: Path) -> None:
    """The inner group has no bound of its own, the container around it two cores."""
    inner = tmp_path / "cgroup" / "container" / "inner"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("max 100000\n")
    (inner.parent / "cpu.max").write_text("200000 100000\n")
    proc = _proc(tmp_path, "0::/container/inner\n", "cgroup2")
    assert quota_cores(proc) == 2.0


def test_v1_bounds_by_quota_and_period(tmp_path: Path) -> None:
    """-1 is no bound."""
    group = tmp_path / "cgroup" / "box"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("150000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (group.parent / "cpu.cfs_quota_us").write_text("-1\n")
    (group.parent / "cpu.cfs_period_us").write_text("100000\n")
    proc = _proc(tmp_path, "3:cpuacct,cpu:/box\n", "cgroup", ",cpu,cpuacct")
    assert quota_cores(proc) == 1.5


def test_without_a_group_there_is_no_bound(tmp_path: Path) -> None:
    """A system without control groups."""
    assert quota_cores(tmp_path) is None


def test_a_real_bound_is_seen() -> None:
    """A process that was put into a group of half a core knows it."""
    group = Path("/sys/fs/cgroup/cpu") / f"rbee-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("50000")
    except OSError:
        missing = "privilege" if os.geteuid() else "kernel"
        pytest.skip(f"{missing}: no v1 cgroup with a bound of time can be made here")
    child = subprocess.Popen(
        [sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        (group / "cgroup.procs").write_text(str(child.pid))
        said, _ = child.communicate("go\n", timeout=60)
        assert float(said) == 0.5
    finally:
        child.kill()
        child.wait()
        group.rmdir()
