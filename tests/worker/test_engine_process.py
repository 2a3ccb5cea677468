"""Promises of `worker.engine_process`, with small real programs as engines."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rbee.worker.engine_process import END_S, EngineProcess
from tests.eventually import soon

_DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


async def _run(program: str, *, end_when: Path | None = None) -> tuple[int | None, float]:
    ended = asyncio.Event()
    engine = EngineProcess([sys.executable, "-c", program], dict(os.environ), ended.set)
    if end_when is not None:
        await soon(end_when.exists)
        engine.end()
    asked_at = time.monotonic()
    await asyncio.wait_for(ended.wait(), 20)
    return engine.returncode, time.monotonic() - asked_at


@pytest.mark.parametrize(
    ("program", "returncode"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(7)", 7),
        ("import os; os.kill(os.getpid(), 11)", -11),
    ],
)
def test_its_end_is_told_with_its_return_code(program: str, returncode: int) -> None:
    """Exit codes as they are, signals negative."""
    assert asyncio.run(_run(program))[0] == returncode


def test_an_engine_that_ignores_sigterm_is_killed_in_time(tmp_path: Path) -> None:
    """A worker shall be gone within a second of being told."""
    deaf = tmp_path / "deaf"
    program = _DEAF.replace("time.sleep", f"open({str(deaf)!r}, 'w'); time.sleep")
    returncode, took_s = asyncio.run(_run(program, end_when=deaf))
    assert returncode == -signal.SIGKILL
    assert took_s < END_S + 0.4


def test_a_program_that_is_not_there_raises() -> None:
    """The caller turns that into ENGINE_MISSING."""

    async def scene() -> None:
        EngineProcess(["/nowhere/at/all"], {}, lambda: None)

    with pytest.raises(FileNotFoundError):
        asyncio.run(scene())


@pytest.mark.parametrize("returncode", [0, 3, -signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT])
def test_a_process_can_end_as_another_did(returncode: int) -> None:
    """Code or signal: its parent sees no difference."""
    program = f"from rbee.worker.engine_process import exit_as; exit_as({int(returncode)})"
    done = subprocess.run([sys.executable, "-c", program], timeout=20, check=False)
    assert done.returncode == returncode


def test_memory_is_read_while_it_runs() -> None:
    """Progress of a load is how much of the file it holds."""

    async def scene() -> int:
        ended = asyncio.Event()
        engine = EngineProcess([sys.executable, "-c", _DEAF], dict(os.environ), ended.set)
        held_bytes = await soon(lambda: engine.resident_bytes)
        engine.end()
        await asyncio.wait_for(ended.wait(), 20)
        assert engine.resident_bytes == 0
        return held_bytes

    assert asyncio.run(asyncio.wait_for(scene(), 20)) > 0
