"""Promises about what the process table tells."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from rbee.edge.process_table import (
    group_members,
    is_alive,
    kill_group,
    memory_bytes,
    port_listening,
    start_time,
    usable_cores,
)


def test_a_zombie_is_not_alive() -> None:
    """A process that ended and was not reaped counts as gone, also in its group."""
    child = subprocess.Popen([sys.executable, "-c", "pass"], start_new_session=True)
    started_at = start_time(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert started_at is not None
        assert not is_alive(child.pid, started_at)
        assert group_members(child.pid) == []
    finally:
        child.wait()
    assert start_time(child.pid) is None


def test_a_start_time_does_not_move_with_the_clock() -> None:
    """It counts from the machine's start, so that a corrected clock makes nobody a stranger."""
    here = start_time(os.getpid())
    assert here is not None
    assert 0 < here <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_our_own_group_is_never_signalled() -> None:
    """A wrong number cannot end us or everything."""
    for group in (0, 1, -1, os.getpgrp()):
        with pytest.raises(ValueError):
            kill_group(group, signal.SIGTERM)


def test_a_listening_port_is_seen() -> None:
    """A port is taken while somebody listens and free after that."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert not port_listening(port)
        listener.listen()
        assert port_listening(port)
    assert not port_listening(port)


def test_memory_counts_the_living() -> None:
    """Memory is that of the living; a dead pid is no error."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert memory_bytes([os.getpid()]) > 1_000_000
    assert memory_bytes([child.pid]) == 0


def test_the_machine_has_a_size() -> None:
    """Cores are at most those that the kernel lets us use."""
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))
