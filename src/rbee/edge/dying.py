"""Processes that die with whoever started them, and give way to everything else."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_IDLE_NICENESS = 10


def die_with_parent(parent: int, signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when its parent ends (prctl(2), Linux only).

    `parent` is the pid that is expected: if it is gone already, this process ends now.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


def give_way() -> None:
    """Lower this process's priority: heavy work must not slow down answers."""
    os.nice(_IDLE_NICENESS)
