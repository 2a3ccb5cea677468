"""What is done to rbee meanwhile: real faults, one after the other, as the seed's dice fall."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import httpx
import psutil

from faults.sockets import cut_lines
from soak.stack import CTX, REPLICAS, Stack

Deed = Callable[[Stack, random.Random], str]
"""Does it, and says what it did; empty: there was nothing to do it to."""


def worker_dies(stack: Stack, dice: random.Random) -> str:
    return strike(stack, dice, "worker", signal.SIGKILL)


def worker_hangs(stack: Stack, dice: random.Random) -> str:
    return strike(stack, dice, "worker", signal.SIGSTOP)


def worker_crashes(stack: Stack, dice: random.Random) -> str:
    return strike(stack, dice, "worker", dice.choice((signal.SIGABRT, signal.SIGSEGV)))


def hive_dies(stack: Stack, dice: random.Random) -> str:
    return strike(stack, dice, "hive", signal.SIGKILL)


def hive_hangs(stack: Stack, dice: random.Random) -> str:
    return strike(stack, dice, "hive", signal.SIGSTOP)


def strike(stack: Stack, dice: random.Random, room: str, what: signal.Signals) -> str:
    """A signal to one process of that room, an engine as well as who keeps it."""
    found = stack.processes(f"rbee.{room}")
    if not found:
        return ""
    one = dice.choice(found)
    one.send_signal(what)
    return f"{what.name} to {room} {one.pid}"


def queen_dies(stack: Stack, dice: random.Random) -> str:
    with stack.without_queen(killed=True):
        told = strike(stack, dice, "queen", signal.SIGKILL)
        threading.Event().wait(dice.uniform(0, 2))
        stack.up()
    return told + ", up"


def queen_naps(stack: Stack, dice: random.Random) -> str:
    """As under a debugger, or on a machine that was put to sleep."""
    for one in stack.processes("rbee.queen"):
        one.send_signal(signal.SIGSTOP)
        threading.Event().wait(dice.uniform(0.5, 6))
        one.send_signal(signal.SIGCONT)
        return f"SIGSTOP and SIGCONT to queen {one.pid}"
    return ""


def queen_ends(stack: Stack, dice: random.Random) -> str:
    """SIGTERM, or down; then up."""
    with stack.without_queen(killed=False):
        if dice.random() < 0.5:
            told = "down, up"
            outcome = stack.home.keeper("down", within_s=180)
            if outcome.code:
                stack.ledger.bad("mistakes", f"down failed: {outcome}")
        else:
            told = strike(stack, dice, "queen", signal.SIGTERM) + ", up"
        stack.up()
    return told


def everything_dies(stack: Stack, dice: random.Random) -> str:
    with stack.without_queen(killed=True):
        for one in stack.home.processes():
            one.send_signal(signal.SIGKILL)
        stack.up()
    return "SIGKILL to everything, up"


def hive_line_breaks(stack: Stack, dice: random.Random) -> str:
    count = cut(stack.processes("rbee.queen"), path="control.sock")
    return f"{count} lines between queen and hive cut"


def worker_line_breaks(stack: Stack, dice: random.Random) -> str:
    """Between the queen and a worker, or the workers and the hive."""
    workers = stack.home.workers("READY", "BUSY")
    if workers and dice.random() < 0.5:
        count = cut(stack.processes("rbee.queen"), port=dice.choice(workers)["port"])
        return f"{count} lines between queen and worker cut"
    count = cut(stack.processes("rbee.hive"), path="hive.sock")
    return f"{count} lines between hive and workers cut"


def cut(processes: list[psutil.Process], path: str = "", port: int = 0) -> int:
    """Break what these have accepted on the socket `path`, or opened to `port`."""
    count = 0
    for one in processes:
        if path:
            lines = [line for line in one.net_connections("unix") if line.laddr.endswith(path)]
        else:
            lines = [line for line in one.net_connections("tcp") if line.raddr]
            lines = [line for line in lines if line.raddr.port == port]
        count += cut_lines(one.pid, [line.fd for line in lines])
    return count


def disk_fills(stack: Stack, dice: random.Random) -> str:
    """The disk of the jobs, to its last byte, for some seconds."""
    if stack.disk is None:
        return ""
    filler = stack.disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError:
        threading.Event().wait(dice.uniform(1, 4))
    finally:
        filler.unlink()
    return "the disk of the jobs was full"


def settings_change(stack: Stack, dice: random.Random) -> str:
    """A limit, the context of the model (it is swapped while it serves), or nonsense, and back."""
    what = dice.randrange(3)
    if what == 0:
        queue = dice.choice((4, 20, 100))
        stack.configure(queue=queue)
        return f"queue = {queue}"
    if what == 1:
        ctx = dice.choice((CTX, CTX + 128))
        stack.configure(ctx=ctx)
        return f"ctx = {ctx}"
    stack.configure(more="ctxx = 3\n")
    threading.Event().wait(2)
    stack.configure()
    return "an unknown key in the configuration, and gone again"


def worker_is_told(stack: Stack, dice: random.Random) -> str:
    """Drained and replaced, or shut down at once, by a person."""
    workers = stack.home.workers("READY", "BUSY")
    if not workers:
        return ""
    words = ("workers", dice.choice(("drain", "shutdown")), dice.choice(workers)["id"])
    outcome = stack.home.keeper(*words)
    return f"rbee {' '.join(words)}: {outcome.code}"


DEEDS: dict[Deed, int] = {
    worker_dies: 6,
    worker_hangs: 3,
    worker_crashes: 1,
    hive_dies: 3,
    hive_hangs: 1,
    queen_dies: 3,
    queen_naps: 2,
    queen_ends: 1,
    everything_dies: 1,
    hive_line_breaks: 2,
    worker_line_breaks: 3,
    disk_fills: 2,
    settings_change: 2,
    worker_is_told: 2,
}
"""How often each of them comes."""

PAUSE_S = (1.0, 6.0)


def strike_on(stack: Stack, dice: random.Random) -> None:
    """Until it is over."""
    while not stack.over.wait(dice.uniform(*PAUSE_S)):
        deed = dice.choices(list(DEEDS), list(DEEDS.values()))[0]
        began = time.monotonic()
        try:
            told = deed(stack, dice)
        except (psutil.Error, httpx.HTTPError, OSError) as error:
            told = f"{deed.__name__} met nobody: {error!r}"
        except subprocess.TimeoutExpired as error:
            told = f"{deed.__name__}: {error}"
            stack.ledger.bad("mistakes", told)
        release(stack)
        if told:
            stack.ledger.did(f"{told} ({time.monotonic() - began:.1f} s)")


def release(stack: Stack) -> None:
    """Who was quarantined for its crashes is served again by a word of its owner."""
    try:
        if stack.home.workers("QUARANTINED"):
            stack.home.keeper("serve", "tiny", "--replicas", str(REPLICAS), "--no-wait")
            stack.ledger.did("quarantined, served again")
    except httpx.HTTPError:
        return
