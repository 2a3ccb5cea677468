"""How often memory was the end where a process lived.

A process that the kernel kills for memory ends with SIGKILL, like one that a person kills. The
counter `oom_kill` of its cgroup (v2 `memory.events`, v1 `memory.oom_control`) tells them apart. A
process may be moved between cgroups, and after its end nobody says where it was: so it is looked
at while it lives.
"""

from __future__ import annotations

from pathlib import Path

from rbee.edge.cgroups import PROC, place_of
from rbee.edge.process_table import has_ended

_WHOLE_MACHINE = "vmstat"
"""Has an `oom_kill` for the whole machine: used where no cgroup counts memory."""


class OomWatch:
    """Counts OOM kills around one process. Made at its start; `look` at it now and then."""

    def __init__(self, pid: int) -> None:
        self._first: dict[Path, int] = {}
        self._counter: Path | None = None
        self._last = 0
        self.look(pid)

    def look(self, pid: int) -> None:
        """Note where the process (or another one of its group) is now, and that place's count."""
        counter = place_of(pid).oom_counter
        if counter is None and (PROC / str(pid)).exists() and (PROC / _WHOLE_MACHINE).exists():
            counter = PROC / _WHOLE_MACHINE
        # Asked after the place was read: the dead stand in the kernel's first group.
        if counter is None or has_ended(pid):
            return
        self._counter = counter
        self._first.setdefault(counter, _read(counter))

    def kills(self) -> int:
        """How many processes were killed for memory where this one lived, since it came there;
        remembered when that place is removed."""
        if self._counter is not None:
            self._last = max(self._last, _read(self._counter) - self._first[self._counter])
        return self._last


def _read(counter: Path) -> int:
    try:
        text = counter.read_text(encoding="ascii")
    except OSError:
        return 0
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0
