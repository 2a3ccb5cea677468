"""The niced child as its hive sees it: started, listened to, ended."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from rbee.errors import RbeeError
from rbee.models.hashing import Progress
from rbee.wire.control import ModelView, Problem
from rbee.wire.problem import from_problem

_LINE_BYTES = 1 << 20
_END_S = 2.0


async def run(act: str, name: str, progress: Progress) -> ModelView:
    """`pull`, `verify` or `remove` a model. Cancelling ends the child, which keeps nothing
    half-made. Raises the child's error, or INTERNAL if it died without a word."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rbee.models", act, name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=None,
        limit=_LINE_BYTES,
        start_new_session=True,
        env={**os.environ, "RBEE_PARENT": str(os.getpid())},
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            result = _heard(line, progress)
            if result is not None:
                return result
    finally:
        await _end(process)
    problem = f"the work on {name[:200]} ended with code {process.returncode}"
    raise RbeeError("INTERNAL", problem=problem)


def _heard(line: bytes, progress: Progress) -> ModelView | None:
    said: Mapping[str, Any] = msgspec.json.decode(line)
    if "progress" in said:
        facts = said["progress"]
        progress(facts["phase"], facts["done_bytes"], facts["total_bytes"])
        return None
    if "error" in said:
        raise from_problem(msgspec.convert(said["error"], Problem))
    return msgspec.convert(said["done"], ModelView)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Gone, with the pip that it may have started: its session is signalled as a whole."""
    for number in (15, 9):
        if process.returncode is not None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.2 if number == 15 else _END_S)
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    await process.wait()
