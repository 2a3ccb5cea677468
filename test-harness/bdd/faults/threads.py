"""A thread that stops while its process goes on: what a wedged engine is.

Linux stops one thread for whoever traces it (ptrace(2), PTRACE_INTERRUPT). The others run: sockets
are served, pings are sent, health is 200, and nothing is computed.
"""

from __future__ import annotations

import subprocess
import sys

import psutil

_LIMIT_S = 60

# It also reads the end of the thread: until then the kernel lets nobody bury the process.
STOPPER = """
import ctypes, os, signal, sys
SEIZE, INTERRUPT, ALL_THREADS = 0x4206, 0x4207, 0x40000000
thread = int(sys.argv[1])
signal.alarm(int(sys.argv[2]))
libc = ctypes.CDLL(None, use_errno=True)
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, thread, None, None):
        sys.exit(os.strerror(ctypes.get_errno()))
print("stopped", flush=True)
while True:
    _, status = os.waitpid(thread, ALL_THREADS)
    if os.WIFEXITED(status) or os.WIFSIGNALED(status):
        break
"""


def used_s(pid: int) -> dict[int, float]:
    """The processor time of each thread of a process."""
    return {one.id: one.user_time for one in psutil.Process(pid).threads()}


def stop_thread(thread: int) -> subprocess.Popen[str]:
    """It stands from now on, until it is killed or the returned process ends.

    Raises PermissionError where threads may not be traced.
    """
    command = [sys.executable, "-c", STOPPER, str(thread), str(_LIMIT_S)]
    stopper = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert stopper.stdout is not None and stopper.stderr is not None
    if stopper.stdout.readline() != "stopped\n":
        raise PermissionError(stopper.stderr.read().strip())
    return stopper
