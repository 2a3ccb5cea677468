"""What `down` does when processes do not obey."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from rbee.edge import home_processes
from rbee.edge.home import Home
from rbee.edge.home_processes import MARK, Found, processes_of
from rbee.errors import RbeeError
from rbee.keeper import stopping
from rbee.keeper.render import Screen

DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(1, flush=True)
signal.pause()
"""


SLOW = """
import signal, sys, time
def end(*_):
    time.sleep(0.3)
    print(2, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print(1, flush=True)
signal.pause()
"""


@pytest.fixture
def deaf(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """An engine of this home that does not hear SIGTERM."""
    home.prepare()
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF],
        stdout=subprocess.PIPE,
        env={**os.environ, MARK: str(home.root), "RBEE_HOME": str(home.root)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBEE_TERM_S", "0.1")
    monkeypatch.setattr(stopping, "_KILL_S", 0.3)


def test_who_does_not_hear_is_killed(home: Home, deaf: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL, to exactly the processes of this home."""
    found = stopping.stop_everything(home, Screen.on(sys.stderr))
    assert [one.pid for one in found] == [deaf.pid]
    assert deaf.wait(5) == -signal.SIGKILL
    assert processes_of(str(home.root)) == []


def test_orphans_are_not_waited_for(
    home: Home, deaf: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """rbee took the request to stop and went, its machine was killed before: what both left gets
    its signal at once, not after the time for a machine that is still draining."""
    monkeypatch.setattr(stopping, "_ask", lambda *_: True)
    began = time.monotonic()
    stopping.stop_everything(home, Screen.on(sys.stderr))
    assert time.monotonic() - began < 2.0
    assert deaf.wait(5) == -signal.SIGKILL


def test_an_orphan_that_ends_well_is_given_the_time_for_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL comes after term_s, also if neither rbee nor its machine is there any more."""
    monkeypatch.setenv("RBEE_TERM_S", "5")
    home.prepare()
    environment = {**os.environ, MARK: str(home.root), "RBEE_HOME": str(home.root)}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], stdout=subprocess.PIPE, env=environment
    ) as slow:
        assert slow.stdout is not None
        slow.stdout.readline()
        stopping.stop_everything(home, Screen.on(sys.stderr))
        assert slow.stdout.read() == b"2\n"
    assert slow.returncode == 0


def test_who_stays_is_named(
    home: Home, deaf: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that even SIGKILL does not end (it hangs in the kernel): STOP_INCOMPLETE."""
    monkeypatch.setattr(stopping, "signal_all", lambda *_: None)
    with pytest.raises(RbeeError) as caught:
        stopping.stop_everything(home, Screen.on(sys.stderr))
    assert caught.value.code == "STOP_INCOMPLETE"
    assert caught.value.facts["pids"] == [deaf.pid]


def test_another_home_is_left_alone(home: Home, deaf: subprocess.Popen[bytes]) -> None:
    """Two homes never touch each other."""
    other = Home(home.root.with_name("other"))
    other.prepare()
    assert stopping.stop_everything(other, Screen.on(sys.stderr)) == []
    assert deaf.poll() is None


def test_a_shell_with_our_home_is_not_ours(home: Home) -> None:
    """RBEE_HOME in the environment of somebody's program does not make it a process of rbee."""
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    with subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, env={**environment, "RBEE_HOME": str(home.root)}
    ) as shell:
        assert processes_of(str(home.root)) == []
        assert shell.stdin is not None
        shell.stdin.close()


def test_a_reused_pid_is_not_signalled(home: Home, deaf: subprocess.Popen[bytes]) -> None:
    """The start time tells a process from a later one of the same number."""
    stranger = Found(deaf.pid, 1.0, "engine", "x")
    assert not home_processes.still_there(stranger, str(home.root))
    home_processes.signal_all([stranger], signal.SIGKILL, str(home.root))
    assert deaf.poll() is None
