"""How short memory is here, as the Linux kernel says it; elsewhere nothing is known.

In a container the machine may have plenty while the control group has none: the tighter one counts.
"""

from __future__ import annotations

import re
from pathlib import Path

from rbee.edge.cgroups import PROC, place_of
from rbee.edge.machine_memory import bounded_by
from rbee.policy.pressure import Memory

_SOME_AVG10 = re.compile(rb"^some avg10=([\d.]+)", re.MULTILINE)
_FIELD = re.compile(rb"^(MemTotal|MemAvailable):\s+(\d+) kB", re.MULTILINE)


def read_memory(proc: Path = PROC) -> Memory:
    """PSI (Linux 4.20, if it is switched on) and MemAvailable, of the machine or of this process's
    control group; what cannot be read is None."""
    place = place_of("self", proc)
    stalls = [proc / "pressure" / "memory"]
    if place.unified is not None:
        stalls.append(place.unified / "memory.pressure")
    some = [float(found[1]) for one in stalls if (found := _SOME_AVG10.search(_read(one)))]
    fields = dict(_FIELD.findall(_read(proc / "meminfo")))
    total, available = fields.get(b"MemTotal"), fields.get(b"MemAvailable")
    share = int(available) / int(total) if total and available and int(total) else None
    bounded = bounded_by(place)
    if share is not None and bounded is not None and 0 < bounded[0] < int(total or 0) << 10:
        share = min(share, bounded[1] / bounded[0])
    return Memory(max(some, default=None), share)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
