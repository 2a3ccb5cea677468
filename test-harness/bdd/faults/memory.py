"""Memory that runs out: control groups, address space, and processes that eat."""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
from pathlib import Path

EAT = """
import pathlib, sys
pathlib.Path(sys.argv[1]).write_text("0")
kept = []
while True:
    kept.append(bytearray(b"x" * (1 << 20)))
"""


def group_of(pid: int) -> Path | None:
    """The folder of a process's memory control group, v1 or v2; None if it has none of its own."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, inside = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = "/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup"
        folder = Path(root + inside)
        limit = folder / ("memory.limit_in_bytes" if controllers else "memory.max")
        if limit.exists() and "rbee-" in folder.name:
            return folder
    return None


def groups_of(home: Path) -> list[Path]:
    """All control groups that the rbee of this home has made; they are named after it."""
    mark = hashlib.sha256(str(home / "run" / "workers").encode()).hexdigest()[:12]
    return [path for path in Path("/sys/fs/cgroup").rglob(f"rbee-{mark}-*") if path.is_dir()]


def exhaust(group: Path, victim: int) -> subprocess.Popen[bytes]:
    """Eat all memory of the group. `victim`: whom the kernel shall end for it, as it ends the
    largest elsewhere."""
    Path(f"/proc/{victim}/oom_score_adj").write_text("1000")
    return subprocess.Popen([sys.executable, "-c", EAT, str(group / "cgroup.procs")])


def bound_addresses(pid: int, size_bytes: int) -> None:
    """RLIMIT_AS of a running process: what it starts from now on inherits it."""
    resource.prlimit(pid, resource.RLIMIT_AS, (size_bytes, size_bytes))


def bound_files(pid: int, count: int) -> None:
    """RLIMIT_NOFILE of a running process."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, count))


EAT_UP_TO = """
import pathlib, sys, time
group, leave = pathlib.Path(sys.argv[1]), float(sys.argv[2])
(group / "cgroup.procs").write_text("0")
limit = int((group / "memory.limit_in_bytes").read_text())
kept = []
while int((group / "memory.usage_in_bytes").read_text()) < limit * (1 - leave):
    kept.append(bytearray(b"x" * (1 << 20)))
print("full", flush=True)
sys.stdin.read()
"""


def small_machine(name: str, size_bytes: int) -> Path | None:
    """A control group that bounds memory, for everything of one rbee: as a small machine or a
    container has it. None: none can be made here."""
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    inside = [where for _, kind, where in own if "memory" in kind.split(",")]
    if not inside:
        return None
    folder = Path("/sys/fs/cgroup/memory" + inside[0]) / name
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(size_bytes))
    except OSError:
        return None
    return folder


def eat_up_to(group: Path, leave: float) -> subprocess.Popen[bytes]:
    """A program in that group that takes all but a share of its memory, and keeps it until its
    standard input ends."""
    eater = subprocess.Popen(
        [sys.executable, "-c", EAT_UP_TO, str(group), str(leave)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert eater.stdout is not None and eater.stdout.readline() == b"full\n", "it did not get it"
    return eater
