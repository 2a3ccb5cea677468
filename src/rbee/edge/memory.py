"""How short this machine's memory is, as the Linux kernel says it; elsewhere nothing is known."""

from __future__ import annotations

import re
from pathlib import Path

from rbee.policy.pressure import Memory

PROC = Path("/proc")
_SOME_AVG10 = re.compile(rb"^some avg10=([\d.]+)", re.MULTILINE)
_FIELD = re.compile(rb"^(MemTotal|MemAvailable):\s+(\d+) kB", re.MULTILINE)


def read_memory(proc: Path = PROC) -> Memory:
    """PSI (Linux 4.20, if it is switched on) and MemAvailable; what cannot be read is None."""
    some = _SOME_AVG10.search(_read(proc / "pressure" / "memory"))
    fields = dict(_FIELD.findall(_read(proc / "meminfo")))
    total, available = fields.get(b"MemTotal"), fields.get(b"MemAvailable")
    share = int(available) / int(total) if total and available and int(total) else None
    return Memory(float(some[1]) if some else None, share)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
