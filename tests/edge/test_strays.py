"""Promises about processes that left their worker's process group, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid

from rbee.edge import strays
from tests.eventually import eventually

ORPHAN = (
    "import os, subprocess, sys;"
    "from rbee.edge.strays import take_in_orphans, dead_children, bury;"
    "take_in_orphans();"
    'code = \'import subprocess; p = subprocess.Popen(["sleep", "0.2"]); print(p.pid)\';'
    "pid = int(subprocess.run([sys.executable, '-c', code], stdout=subprocess.PIPE).stdout);"
    "import time;"
    "until = time.monotonic() + 10\n"
    "while pid not in dead_children() and time.monotonic() < until: time.sleep(0.01)\n"
    "found = dead_children(); bury(found); print(pid in found, pid in dead_children())"
)


def _sleeper(mark: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, strays.MARK: mark}
    return subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)


def test_those_that_carry_the_mark_are_ended() -> None:
    """In whatever group or session they are; those with another mark live."""
    mark = uuid.uuid4().hex
    one, other = _sleeper(mark), _sleeper(mark + "x")
    eventually(lambda: strays.marked(mark) == {one.pid})
    assert strays.end(mark) == 0
    assert one.wait(10) == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    other.wait()


def test_nothing_to_end_costs_little() -> None:
    """It is asked after every exit of a worker."""
    began = time.monotonic()
    assert strays.end(uuid.uuid4().hex) == 0
    assert time.monotonic() - began < 1.0


def test_an_orphan_comes_to_whoever_asked_for_it_and_is_buried() -> None:
    """Its parent has ended; dead, it does not stay in the process table."""
    said = subprocess.run(
        [sys.executable, "-c", ORPHAN], capture_output=True, text=True, check=True, timeout=30
    )
    assert said.stdout.split() == ["True", "False"]
