"""Looks at what may run out on this machine, and tells before it does."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rbee.edge import machine_memory
from rbee.edge.cgroups import PROC
from rbee.edge.disk import free_bytes, waiting_percent
from rbee.errors import RbeeError
from rbee.policy import resources
from rbee.wire.control import Happened


class Resources:
    """Owner of what is low now. `tell` hears of each change once."""

    def __init__(
        self,
        models: Path,
        reserve_bytes: Callable[[], int],
        tell: Callable[[Happened], None],
        proc: Path = PROC,
    ) -> None:
        self._models = models
        self._reserve_bytes = reserve_bytes
        self._tell = tell
        self._proc = proc
        self._low: frozenset[str] = frozenset()

    def look(self) -> None:
        """Now; cheap enough for every few seconds."""
        self._low, news = resources.judge(tuple(self._levels()), self._low)
        for one in news:
            error = RbeeError("RESOURCES_LOW", what=one.what, left=one.left, least=one.least)
            told = "loads and downloads take longer" if one.passes else "told before it fails"
            done = told if one.low else "there is enough of it again"
            self._tell(
                Happened(
                    at=time.time(),
                    code=error.code,
                    what=error.report.message,
                    done=done,
                    outcome="open" if one.low and not one.passes else "ok",
                    subject=one.what,
                )
            )

    def _levels(self) -> list[resources.Level]:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        levels = [resources.descriptors(_open_files(limit), limit)]
        with suppress(OSError):
            memory = machine_memory.look()
            levels.append(resources.memory(memory.available_bytes, memory.total_bytes))
        with suppress(OSError):
            levels.append(resources.disk(free_bytes(self._models), self._reserve_bytes()))
        stalled = waiting_percent(self._proc)
        if stalled is not None:
            levels.append(resources.idle_disks(stalled))
        return levels


def _open_files(limit: int) -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError as error:
        # Not one more can be opened; or this system has no such folder.
        return limit if error.errno == errno.EMFILE else 0
