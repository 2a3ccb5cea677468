"""Whether a process has ended, asked in the order that no race can upset."""

from __future__ import annotations

import psutil


def has_ended(pid: int) -> bool:
    """True once the process is gone or only its exit status is left.

    A process may be reaped between any two looks, so the look itself is the question.
    """
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
