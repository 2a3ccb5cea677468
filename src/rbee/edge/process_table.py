"""Questions to the kernel's process table: who lives, in which group, and who holds a port.

A pid alone proves nothing, since pids are used again: with the start time it names one process.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable

import psutil

_START_TOLERANCE_S = 0.02
"""Start times come from clock ticks (10 ms) added to the boot time."""


def start_time(pid: int) -> float | None:
    """When the process began (seconds since the epoch), or None if there is no such process."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def is_alive(pid: int, started_at: float) -> bool:
    """Whether that very process still runs; a zombie has ended."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(process.create_time() - started_at) <= _START_TOLERANCE_S
    except psutil.Error:
        return False


def group_members(group: int) -> list[int]:
    """Pids of the living members of a process group; zombies have ended and do not count."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return []
    except PermissionError:
        pass
    return [pid for pid in psutil.pids() if _in_group(pid, group)]


def _in_group(pid: int, group: int) -> bool:
    try:
        return os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.Error):
        return False


def kill_group(group: int, signal_number: int) -> bool:
    """Signal all of a group; False if none is left. Never the caller's own group."""
    if group <= 1 or group == os.getpgrp():
        raise ValueError(f"{group} is not the group of a child")
    try:
        os.killpg(group, signal_number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def memory_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes in all; the dead count nothing."""
    total = 0
    for pid in pids:
        try:
            total += int(psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            continue
    return total


def port_listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens on a loopback port: asked by connecting, so any owner is seen."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.2)
        return sock.connect_ex((host, port)) not in (errno.ECONNREFUSED, errno.EADDRNOTAVAIL)


def usable_cores() -> int:
    """Physical cores that this process may run on (hyper-threads of one core count once)."""
    try:
        logical = os.sched_getaffinity(0)
    except AttributeError:
        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    cores = {_core_of(cpu) for cpu in logical}
    return max(1, len(cores))


def _core_of(cpu: int) -> str:
    """The set of threads that share a core with this one, as the kernel prints it."""
    path = f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    try:
        with open(path, encoding="ascii") as text:
            return text.read().strip()
    except OSError:
        return str(cpu)


def total_memory_bytes() -> int:
    """Memory of the machine."""
    return int(psutil.virtual_memory().total)


def port_holder(port: int) -> str:
    """` (pid 812, nginx)`, as far as this user may see it; else nothing."""
    try:
        for one in psutil.net_connections("tcp"):
            if (
                one.status == psutil.CONN_LISTEN
                and getattr(one.laddr, "port", 0) == port
                and one.pid
            ):
                return f" (pid {one.pid}, {psutil.Process(one.pid).name()})"
    except psutil.Error:
        return ""
    return ""
