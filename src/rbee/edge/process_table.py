"""Questions to the kernel's process table: who lives, in which group, and who holds a port.

A pid alone proves nothing, since pids are used again: with the start time it names one process.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Iterable

import psutil

from rbee.edge.cpu_quota import quota_cores

_START_TOLERANCE_S = 0.02
"""Start times are told in clock ticks of 10 ms."""


def start_time(pid: int) -> float | None:
    """When the process began, or None if there is no such process.

    On Linux in seconds since the machine's start, which a jump of the clock does not move (times
    since the epoch move with it, and every process would then be taken for another one);
    elsewhere since the epoch. Only to be compared with itself, by `is_alive`.
    """
    try:
        if psutil.LINUX:
            return int(_stat(pid)[19]) / os.sysconf("SC_CLK_TCK")
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, OSError, IndexError):
        return None


def _stat(pid: int) -> list[str]:
    """The fields of proc(5) `stat` behind the name, which may hold anything: state is the first."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as text:
        return text.read().rpartition(")")[2].split()


def is_alive(pid: int, started_at: float) -> bool:
    """Whether that very process still runs; a zombie has ended."""
    now = start_time(pid)
    if now is None or abs(now - started_at) > _START_TOLERANCE_S:
        return False
    return not has_ended(pid)


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
        return os.getpgid(pid) == group and not has_ended(pid)
    except ProcessLookupError:
        return False


def has_ended(pid: int) -> bool:
    """Whether it is gone, or a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


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
    """Physical cores that this process may run on (hyper-threads of one core count once), and no
    more than its control group gives it time for."""
    try:
        logical = os.sched_getaffinity(0)
    except AttributeError:
        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    cores = len({_core_of(cpu) for cpu in logical})
    return max(1, min(cores, math.ceil(quota_cores() or cores)))


def _core_of(cpu: int) -> str:
    """The set of threads that share a core with this one, as the kernel prints it."""
    path = f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    try:
        with open(path, encoding="ascii") as text:
            return text.read().strip()
    except OSError:
        return str(cpu)


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


def boot_id() -> str:
    """Names this run of the machine: what a file system had not yet written down is gone when it
    changes."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as text:
            return text.read().strip()
    except OSError:
        return f"boot-{psutil.boot_time():.0f}"
