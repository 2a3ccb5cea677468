"""Promises about the kernel's OOM counters, with a real OOM kill where a cgroup can be made."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbee.edge.oom_watch import OomWatch
from rbee.edge.process_table import has_ended
from tests.eventually import eventually

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")
LIMIT_BYTES = 64 << 20

HOG = "import sys; sys.stdin.readline(); kept = [bytearray(1 << 20) for _ in range(1000)]"


def _limited_group() -> Path | None:
    """A new cgroup with a memory limit, or None where this user may not make one."""
    name = f"rbee-test-{uuid.uuid4().hex[:8]}"
    for root, knob in ((V1, "memory.limit_in_bytes"), (V2, "memory.max")):
        group = root / name
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / knob).exists():
            (group / knob).write_text(str(LIMIT_BYTES))
            swap = group / ("memory.memsw.limit_in_bytes" if root == V1 else "memory.swap.max")
            if swap.exists():
                swap.write_text(str(LIMIT_BYTES) if root == V1 else "0")
            return group
        group.rmdir()
    return None


@pytest.fixture
def limited_group() -> Iterator[Path]:
    group = _limited_group()
    if group is None:
        missing = "privilege" if os.geteuid() else "kernel"
        pytest.skip(f"{missing}: no cgroup with a memory limit can be made here")
    yield group
    group.rmdir()


def _hog() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", HOG], stdin=subprocess.PIPE)


def test_an_oom_kill_is_counted(limited_group: Path) -> None:
    """A process that was moved into a limited cgroup and killed there for memory is seen."""
    hog = _hog()
    watch = OomWatch(hog.pid)
    (limited_group / "cgroup.procs").write_text(str(hog.pid))
    watch.look(hog.pid)
    assert watch.kills() == 0
    assert hog.stdin is not None
    hog.stdin.write(b"\n")
    hog.stdin.close()
    assert hog.wait(30) == -9
    assert watch.kills() >= 1


def test_a_look_at_a_dead_process_forgets_nothing(limited_group: Path) -> None:
    """A zombie stands in the kernel's first group, whatever killed it where it lived."""
    hog = _hog()
    (limited_group / "cgroup.procs").write_text(str(hog.pid))
    watch = OomWatch(hog.pid)
    assert hog.stdin is not None
    hog.stdin.write(b"\n")
    hog.stdin.close()
    eventually(lambda: has_ended(hog.pid), within_s=30)
    watch.look(hog.pid)
    assert watch.kills() >= 1
    hog.wait()


def test_a_kill_by_hand_is_not_an_oom_kill(limited_group: Path) -> None:
    """SIGKILL from a person leaves the counter as it was, and a dead process can be asked about."""
    hog = _hog()
    (limited_group / "cgroup.procs").write_text(str(hog.pid))
    watch = OomWatch(hog.pid)
    hog.kill()
    hog.communicate()
    watch.look(hog.pid)
    assert watch.kills() == 0


def test_without_a_process_there_is_nothing_to_count() -> None:
    """A pid that is gone already counts no kills."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert OomWatch(child.pid).kills() == 0
    assert OomWatch(os.getpid()).kills() >= 0
