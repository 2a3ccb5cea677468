"""Promises about the queen's calls."""

from __future__ import annotations

import asyncio

from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.hive.calls import Calls
from rbee.wire.control import Done, Failed, FromHive
from tests.eventually import soon


async def _answer_of(work: object) -> FromHive:
    said: list[FromHive] = []
    calls = Calls(said.append, Log("test"))
    calls.start("c1", work)  # type: ignore[arg-type]
    while not said:
        await asyncio.sleep(0)
    return said[0]


async def _gives(value: object) -> object:
    return value


async def _raises(error: Exception) -> object:
    raise error


def test_a_result_is_done() -> None:
    """What the work gives is the answer to the call."""
    assert asyncio.run(_answer_of(_gives([1]))) == Done("c1", [1])


def test_an_error_crosses_whole() -> None:
    """An error keeps its code and its sentence."""
    answer = asyncio.run(_answer_of(_raises(RbeeError("WORKER_NOT_FOUND", worker="w1"))))
    assert isinstance(answer, Failed)
    assert answer.problem.code == "WORKER_NOT_FOUND" and "w1" in answer.problem.message


def test_a_mistake_of_ours_is_an_answer_too() -> None:
    """Nobody waits for ever for a call that broke."""
    answer = asyncio.run(_answer_of(_raises(ZeroDivisionError("x"))))
    assert isinstance(answer, Failed) and answer.problem.code == "INTERNAL"


def test_a_cancelled_call_is_answered() -> None:
    """Cancelling ends the work and says so; an unknown call is no error."""

    async def run() -> FromHive:
        said: list[FromHive] = []
        calls = Calls(said.append, Log("test"))
        calls.start("c1", _gives(await asyncio.sleep(0)))
        calls.start("c2", _forever())
        await soon(lambda: said)
        calls.cancel("c2")
        calls.cancel("nobody")
        await calls.cancel_all()
        assert said[0] == Done("c1", None)
        return said[1]

    async def _forever() -> object:
        await asyncio.Event().wait()
        return None

    answer = asyncio.run(run())
    assert isinstance(answer, Failed) and answer.problem.code == "CANCELLED"
