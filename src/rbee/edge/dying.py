"""Processes that die with whoever started them, and give way to everything else."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

import psutil

_PR_SET_PDEATHSIG = 1

IDLE_NICENESS = 19
"""Scrubs and downloads: what answers and loads comes first."""
AWAITED_NICENESS = 10
"""Work that a load waits for."""


def die_with_parent(parent: int, signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when its parent ends (prctl(2), Linux only).

    `parent` is the pid that is expected: if it is gone already, this process ends now.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


def give_way(niceness: int = IDLE_NICENESS) -> None:
    """Lower this process's priority: heavy work must not slow down answers. At the lowest, its
    reading and writing waits for everybody else's too."""
    os.nice(niceness)
    if niceness == IDLE_NICENESS and psutil.LINUX:
        with suppress(psutil.Error, OSError):
            psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
