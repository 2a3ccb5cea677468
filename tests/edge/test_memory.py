"""How short memory is, read from files as the kernel writes them."""

import pytest

from rbee.edge.cgroups import PROC
from rbee.edge.memory import read_memory
from rbee.policy.pressure import Memory

PSI = """some avg10=23.45 avg60=1.00 avg300=0.00 total=225
full avg10=0.00 avg60=0.00 avg300=0.00 total=175
"""
INFO = """MemTotal:       24576000 kB
MemFree:          204800 kB
MemAvailable:    1228800 kB
"""


def written(tmp_path, psi=None, info=None):
    (tmp_path / "pressure").mkdir()
    if psi is not None:
        (tmp_path / "pressure" / "memory").write_text(psi)
    if info is not None:
        (tmp_path / "meminfo").write_text(info)
    return tmp_path


@pytest.mark.parametrize(
    ("psi", "info", "memory"),
    [
        (PSI, INFO, Memory(23.45, 0.05)),
        (None, INFO, Memory(None, 0.05)),
        (PSI, None, Memory(23.45, None)),
        (None, None, Memory()),
        ("garbage", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", Memory()),
    ],
    ids=["both", "no PSI", "no meminfo", "not Linux", "garbage"],
)
def test_what_can_be_read_is_known(tmp_path, psi, info, memory):
    """A kernel without PSI, or none that is Linux: what it does not say is None."""
    assert read_memory(written(tmp_path, psi, info)) == memory


def test_this_machine_says_it():
    """The kernel that runs this."""
    if not (PROC / "meminfo").exists():
        pytest.skip("kernel: no /proc/meminfo")
    share = read_memory().available_share

    assert share is not None and 0 < share < 1


@pytest.mark.parametrize(
    ("limit", "used", "share"),
    [(10_000, 9_900, 0.01), (10_000, 2_000, 0.05), (1 << 62, 9_900, 0.05)],
    ids=["short in the group", "short on the machine", "no limit"],
)
def test_the_tighter_one_counts(tmp_path, limit, used, share):
    """A container's own limit, or the machine around it; and its own stalls."""
    group = tmp_path / "group"
    group.mkdir()
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text("inactive_file 0\nactive_file 0\n")
    (group / "memory.events").write_text("oom_kill 0\n")
    (group / "memory.pressure").write_text(PSI.replace("23.45", "61.00"))
    proc = written(tmp_path / "proc", PSI, INFO) if not (tmp_path / "proc").mkdir() else None
    (proc / "self").mkdir()
    (proc / "self" / "cgroup").write_text("0::/\n")
    (proc / "self" / "mountinfo").write_text(f"1 1 0:1 / {group} rw - cgroup2 cgroup2 rw\n")

    assert read_memory(proc) == Memory(61.0, pytest.approx(share))
