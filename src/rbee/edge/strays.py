"""Processes that slipped out of their worker's process group, and how they are got rid of.

A grandchild may make a session of its own and outlive its parents. Two things find it: the mark in
its environment, which everything that a worker starts inherits, and the kernel, which gives such an
orphan to the nearest ancestor that asked for them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "RBEE_WORKER"
"""The variable that names home and worker."""

_PR_SET_CHILD_SUBREAPER = 36
_GONE_WITHIN_S = 2.0
_LOOK_S = 0.01


def take_in_orphans() -> None:
    """Become the parent of descendants that lose theirs (prctl(2), Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def marked(mark: str) -> set[int]:
    """Who carries this mark; zombies do not."""
    line = f"{MARK}={mark}".encode()
    found = set()
    for pid in psutil.pids():
        with suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if line in environment and line in environment.split(b"\0"):
                found.add(pid)
    return found - {os.getpid()}


def end(mark: str) -> int:
    """SIGKILL to all that carry the mark; how many would not die."""
    left = marked(mark)
    until = time.monotonic() + _GONE_WITHIN_S
    while left:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            break
        time.sleep(_LOOK_S)
        left = marked(mark)
    return len(left)


def dead_children() -> set[int]:
    """Children of ours that have ended and that nobody has waited for yet."""
    found = set()
    for pid in _children():
        with suppress(psutil.Error):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                found.add(pid)
    return found


def _children() -> list[int]:
    """As the kernel lists them for each of our threads; a look at all processes of the machine
    where it does not."""
    try:
        lists = [one.read_text("ascii") for one in Path("/proc/self/task").glob("*/children")]
    except OSError:
        lists = []
    if lists:
        return [int(pid) for text in lists for pid in text.split()]
    return [child.pid for child in psutil.Process().children()]


def bury(pids: Collection[int]) -> None:
    """Wait for these dead children, so that the kernel forgets them."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
