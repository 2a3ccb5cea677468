"""Promises about control groups of workers: real v1 memory and v2 kill where they can be made, and
a recorded tree for v2 memory, which this kernel's configuration may not have."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbee.edge.cgroups import Place, place_of
from rbee.edge.oom_watch import OomWatch
from rbee.edge.worker_cgroup import WorkerCgroup, left_over
from tests.eventually import eventually

HOG = "import sys; sys.stdin.readline(); kept = [bytearray(b'x' * (1 << 20)) for _ in range(1000)]"
FAMILY = (
    "import subprocess, sys, time;"
    "one = subprocess.Popen(['sleep', '600'], start_new_session=True);"
    "print(one.pid, flush=True); time.sleep(600)"
)


@pytest.fixture
def home() -> str:
    return f"/home-{uuid.uuid4().hex}"


@pytest.fixture
def bounded(home: str) -> Iterator[WorkerCgroup]:
    group = WorkerCgroup.make(home, "w1", 64 << 20, place_of("self"))
    if group.memory is None:
        group.remove()
        missing = "privilege" if os.geteuid() else "kernel"
        pytest.skip(f"{missing}: no cgroup with a memory limit can be made here")
    yield group
    group.kill()
    eventually(lambda: not group.remove())


def _hog() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", HOG], stdin=subprocess.PIPE)


def _eat(hog: subprocess.Popen[bytes]) -> int:
    assert hog.stdin is not None
    hog.stdin.write(b"\n")
    hog.stdin.close()
    return hog.wait(30)


def test_a_worker_that_eats_too_much_ends_alone(bounded: WorkerCgroup) -> None:
    """The kernel kills it at its limit and counts that; its neighbour outside lives."""
    hog, neighbour = _hog(), _hog()
    bounded.take(hog.pid)
    watch = OomWatch(hog.pid)
    assert _eat(hog) == -9
    assert watch.kills() == 1
    assert neighbour.poll() is None
    neighbour.kill()
    neighbour.communicate()


def test_it_is_killed_as_a_unit(bounded: WorkerCgroup) -> None:
    """A grandchild with a session of its own is still in the group."""
    leader = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.readline();" + FAMILY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    bounded.take(leader.pid)
    assert leader.stdin is not None and leader.stdout is not None
    leader.stdin.write(b"\n")
    leader.stdin.flush()
    grandchild = int(leader.stdout.readline())
    assert {leader.pid, grandchild} <= bounded.members()
    assert bounded.kill()
    leader.wait(10)
    eventually(lambda: not bounded.members())
    assert not bounded.kill()
    leader.stdin.close()
    leader.stdout.close()


def test_it_is_found_again(home: str, bounded: WorkerCgroup) -> None:
    """By the process in it, and by the home that made it; another home's is not touched."""
    hog = _hog()
    bounded.take(hog.pid)
    again = WorkerCgroup.of(hog.pid, home, "w1")
    assert set(again.folders) == set(bounded.folders)
    assert WorkerCgroup.of(hog.pid, home, "w2").folders == ()
    found = {folder for one in left_over(home, place_of("self")) for folder in one.folders}
    assert found == set(bounded.folders)
    assert list(left_over("/another", place_of("self"))) == []
    hog.kill()
    hog.communicate()


def test_without_control_groups_nothing_is_done(home: str) -> None:
    """Nowhere to make one: every act is harmless, and says so."""
    group = WorkerCgroup.make(home, "w1", 1 << 20, Place())
    group.take(os.getpid())
    assert group.folders == ()
    assert not group.limit(1)
    assert not group.kill()
    assert group.members() == set()
    assert group.remove() == []


def test_where_it_may_not_be_made_nothing_is_done(home: str, tmp_path: Path) -> None:
    """A tree that is there and refuses is like none: here a file stands for its folder."""
    blocked = tmp_path / "tree"
    blocked.write_text("")
    place = Place(memory=blocked, version=1, unified=blocked)
    assert WorkerCgroup.make(home, "w1", 1 << 20, place).folders == ()


def _v2(tmp_path: Path, *, hands_down: bool) -> Place:
    """A v2 tree as a systemd user session shows it, recorded: rbee's own group holds processes, so
    only its parent hands the memory controller down."""
    parent = tmp_path / "app.slice"
    own = parent / "rbee.scope"
    own.mkdir(parents=True)
    (own / "cgroup.subtree_control").write_text("")
    (parent / "cgroup.subtree_control").write_text("cpu memory pids\n" if hands_down else "pids\n")
    return Place(memory=own, version=2, unified=own)


def test_v2_memory_is_bounded_beside_our_own_group(home: str, tmp_path: Path) -> None:
    """Recorded tree: the group is made where the controller is handed down, bound, and ended as a
    unit also by the kernel."""
    place = _v2(tmp_path, hands_down=True)
    group = WorkerCgroup.make(home, "w1", 123_456, place)
    assert group.memory is not None and group.memory.parent == tmp_path / "app.slice"
    assert (group.memory / "memory.max").read_text() == "123456"
    assert (group.memory / "memory.oom.group").read_text() == "1"
    (group.memory / "cgroup.procs").write_text("999999998\n")
    assert group.kill()
    assert (group.memory / "cgroup.kill").read_text() == "1"


def test_v2_without_the_controller_still_ends_as_a_unit(home: str, tmp_path: Path) -> None:
    """Recorded tree: no limit can be set, and none is pretended."""
    place = _v2(tmp_path, hands_down=False)
    group = WorkerCgroup.make(home, "w1", 123_456, place)
    assert group.memory is None
    assert group.unified is not None and not (group.unified / "memory.max").exists()


def test_where_a_process_stands_is_read_from_the_kernels_words(tmp_path: Path) -> None:
    """v1, v2 and hybrid, as recorded; in a container the mount shows a part of the tree."""
    tree = tmp_path / "sys"
    (tree / "memory" / "jobs" / "a").mkdir(parents=True)
    (tree / "unified" / "jobs" / "a").mkdir(parents=True)
    (tree / "unified" / "jobs" / "a" / "memory.events").write_text("oom_kill 0\n")
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    v1 = f"30 25 0:26 / {tree}/memory rw - cgroup cgroup rw,memory\n"
    v2 = f"31 25 0:27 /jobs {tree}/unified/jobs rw - cgroup2 cgroup2 rw\n"
    (proc / "self" / "cgroup").write_text("4:memory:/jobs/a\n0::/jobs/a\n")
    (proc / "self" / "mountinfo").write_text(v1 + v2)
    hybrid = place_of("self", proc)
    assert hybrid == Place(tree / "memory/jobs/a", 1, tree / "unified/jobs/a")
    (proc / "self" / "mountinfo").write_text(v2)
    alone = place_of("self", proc)
    assert alone == Place(tree / "unified/jobs/a", 2, tree / "unified/jobs/a")
    assert alone.oom_counter == tree / "unified/jobs/a/memory.events"
    assert place_of("nobody", proc) == Place()
