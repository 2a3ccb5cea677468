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
