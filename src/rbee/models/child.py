"""The niced child as its hive sees it: started, listened to, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from rbee.edge.dying import AWAITED_NICENESS, IDLE_NICENESS
from rbee.edge.process_table import group_members, kill_group
from rbee.errors import RbeeError
from rbee.models.hashing import Progress, Trouble
from rbee.wire.control import ModelView, Problem
from rbee.wire.problem import from_problem

_LINE_BYTES = 1 << 20
_LEAVE_S = 0.2
"""For a child that has said its last word to end by itself."""
_END_S = 2.0
_LOOK_S = 0.02


async def run(act: str, name: str, progress: Progress, trouble: Trouble) -> ModelView:
    """`ask` for an act that ends with the view of a model: `pull`."""
    return msgspec.convert(await ask(act, name, progress, trouble), ModelView)


async def ask(
    act: str, name: str, progress: Progress, trouble: Trouble, *, awaited: bool = False
) -> object:
    """Have an act of `models.__main__` done; gives what it said in the end. `awaited`: a load waits
    for it, so it does not give way to everything else. Cancelling ends the child, which names
    nothing that is half-made. Raises the child's error, or INTERNAL if it died without a word."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rbee.models", act, name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=None,
        limit=_LINE_BYTES,
        start_new_session=True,
        env={
            **os.environ,
            "RBEE_PARENT": str(os.getpid()),
            "RBEE_NICE": str(AWAITED_NICENESS if awaited else IDLE_NICENESS),
        },
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            said: Mapping[str, Any] = msgspec.json.decode(line)
            if "done" in said:
                return said["done"]
            _heard(said, progress, trouble)
    finally:
        await _end(process)
    problem = f"the work on {name[:200]} ended with code {process.returncode}"
    raise RbeeError("INTERNAL", problem=problem)


def _heard(said: Mapping[str, Any], progress: Progress, trouble: Trouble) -> None:
    if "error" in said:
        raise from_problem(msgspec.convert(said["error"], Problem))
    if "trouble" in said:
        trouble(from_problem(msgspec.convert(said["trouble"], Problem)), str(said["then"]))
        return
    facts = said["progress"]
    progress(facts["phase"], facts["done_bytes"], facts["total_bytes"])


async def _end(process: asyncio.subprocess.Process) -> None:
    """Gone, with the pip that it may have started: its session is signalled as a whole, also when
    the child itself is dead already and only the pip is left."""
    if process.returncode is None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await process.wait()
    for number, within_s in ((signal.SIGTERM, _END_S), (signal.SIGKILL, _END_S)):
        if not kill_group(process.pid, number):
            break
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await _group_gone(process.pid)
    await process.wait()


async def _group_gone(group: int) -> None:
    while group_members(group):
        await asyncio.sleep(_LOOK_S)
