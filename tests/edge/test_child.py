"""Promises about child processes, kept with real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rbee.edge.child import Exit, find, spawn
from rbee.edge.process_table import group_members, has_ended, is_alive, start_time
from tests.eventually import soon

LIMIT_S = 10.0

FAMILY = (
    "import subprocess, sys, time;"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(p.pid, flush=True); time.sleep(600)"
)
DEAF = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(600)"
)


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_return_code_is_told(tmp_path: Path) -> None:
    """A process that ends by itself is told with its code."""
    child = spawn(_python("raise SystemExit(7)"), log=tmp_path / "log")
    assert asyncio.run(child.wait()) == Exit(returncode=7)
    assert child.ended == Exit(returncode=7)


def test_the_signal_is_told(tmp_path: Path) -> None:
    """A process that somebody kills is told with the signal, not with a code."""

    async def run() -> Exit:
        child = spawn(_python("import time; time.sleep(600)"), log=tmp_path / "log")
        child.send_signal(signal.SIGKILL)
        return await child.wait()

    assert asyncio.run(run()) == Exit(signal=signal.SIGKILL)


def test_output_is_appended_to_a_private_file(tmp_path: Path) -> None:
    """Both outputs land behind what was there, in a file for this user only."""
    log = tmp_path / "log"
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    for _ in range(2):
        asyncio.run(spawn(_python(code), log=log).wait())
    assert log.read_text() == "out\nerr\n" * 2
    assert log.stat().st_mode & 0o777 == 0o600


def test_input_is_empty_and_the_group_its_own(tmp_path: Path) -> None:
    """A child reads nothing of our terminal and gets none of its Ctrl-C."""
    log = tmp_path / "log"
    code = "import os, sys; print(repr(sys.stdin.read()), os.getpid() == os.getsid(0))"
    asyncio.run(spawn(_python(code), log=log).wait())
    assert log.read_text() == "'' True\n"


def test_the_environment_is_what_was_given(tmp_path: Path) -> None:
    """A given environment is the whole one."""
    log = tmp_path / "log"
    env = {"RBEE_WORKER_KEY": "k", "PATH": os.environ["PATH"]}
    code = "import os; print(os.environ['RBEE_WORKER_KEY'], 'HOME' in os.environ)"
    asyncio.run(spawn(_python(code), log=log, env=env).wait())
    assert log.read_text() == "k False\n"


def test_a_missing_program_is_an_oserror(tmp_path: Path) -> None:
    """What exec says reaches the caller."""
    with pytest.raises(FileNotFoundError):
        spawn([str(tmp_path / "nothing")], log=tmp_path / "log")


def test_end_takes_the_whole_group(tmp_path: Path) -> None:
    """A grandchild does not outlive the end of its group."""

    async def run() -> tuple[int, Exit]:
        log = tmp_path / "log"
        child = spawn(_python(FAMILY), log=log)
        await soon(lambda: log.read_text().endswith("\n"))
        grandchild = int(log.read_text())
        assert set(group_members(child.pid)) == {child.pid, grandchild}
        ended = await child.end(LIMIT_S)
        assert not group_members(child.pid)
        return grandchild, ended

    grandchild, ended = asyncio.run(run())
    assert ended == Exit(signal=signal.SIGTERM)
    assert has_ended(grandchild)


def test_a_grandchild_that_its_parent_left_is_killed(tmp_path: Path) -> None:
    """After the leader's own end, `kill` ends whoever is left of its group."""

    async def run() -> None:
        log = tmp_path / "log"
        child = spawn(_python(FAMILY), log=log)
        await soon(lambda: log.read_text().endswith("\n"))
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        assert group_members(child.pid) == [int(log.read_text())]
        assert await child.kill() == []
        assert not group_members(child.pid)

    asyncio.run(run())


def test_who_ignores_sigterm_is_killed_after_the_limit(tmp_path: Path) -> None:
    """`end` is over soon after its limit, whatever the child thinks of it."""

    async def run() -> tuple[Exit, float]:
        log = tmp_path / "log"
        child = spawn(_python(DEAF), log=log)
        await soon(lambda: log.read_text() == "deaf\n")
        began = time.monotonic()
        return await child.end(0.3), time.monotonic() - began

    ended, took_s = asyncio.run(run())
    assert ended == Exit(signal=signal.SIGKILL)
    assert 0.3 <= took_s < 3.0


def test_a_process_of_an_earlier_life_is_found_and_awaited(tmp_path: Path) -> None:
    """A process that we did not start can be waited for; its code is not to be had."""

    stranger = subprocess.Popen(_python("import time; time.sleep(600)"), start_new_session=True)

    async def run() -> Exit:
        try:
            child = find(stranger.pid, start_time(stranger.pid) or 0.0)
            assert child is not None
            waiting = asyncio.create_task(child.wait())
            await asyncio.sleep(0)
            child.send_signal(signal.SIGKILL)
            return await asyncio.wait_for(waiting, LIMIT_S)
        finally:
            stranger.wait()

    assert asyncio.run(run()) == Exit()


def test_a_used_again_pid_is_nobody() -> None:
    """A pid with another start time is another process."""
    here = os.getpid()
    started_at = start_time(here)
    assert started_at is not None
    assert is_alive(here, started_at)
    assert not is_alive(here, started_at - 60)
    assert find(here, started_at - 60) is None
