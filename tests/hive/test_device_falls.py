"""Promises about what an end says against a device."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rbee.errors import RbeeError
from rbee.hive.device_falls import Fall, judge, unused
from rbee.wire.control import ModelWish, Problem
from rbee.wire.lifeline import Listening
from rbee.wire.problem import to_problem
from tests.hive.test_device_room import COOL, Scene

AUTO = ModelWish("m", "m:1")
PINNED = ModelWish("m", "m:1", device="cuda:0", fallback=False)
FACTS = {"model": "m", "worker": "w1", "line": "CUDA error"}


def _run_on(device: str) -> Any:
    """A process that was started for this device; nothing else of it counts."""
    return SimpleNamespace(spec=SimpleNamespace(device=device), id="w1")


def _problem(code: str) -> Problem:
    facts = FACTS if code.startswith("GPU") else {"model": "m", "worker": "w1"}
    return to_problem(RbeeError(code, cause="it broke", **facts).report)


def _judged(folder: Path, wish: ModelWish, device: str, code: str) -> tuple[Fall, frozenset[str]]:
    async def run() -> tuple[Fall, frozenset[str]]:
        scene = Scene(folder)
        room = await scene.known()
        return judge(wish, _run_on(device), _problem(code), room), room.barred(wish)

    return asyncio.run(run())


def test_a_device_that_failed_is_left(tmp_path: Path) -> None:
    """It rests, and whoever may run elsewhere does."""
    fall, barred = _judged(tmp_path, AUTO, "cuda:0", "GPU_ERROR")
    assert (fall.leaves, fall.rests_s, barred) == (("cuda:0",), 60.0, {"cuda:0"})
    assert fall.problem.code == "GPU_ERROR"


def test_who_insists_on_it_is_refused_with_the_cause(tmp_path: Path) -> None:
    """And with the time of its pause."""
    fall, barred = _judged(tmp_path, PINNED, "cuda:0", "GPU_ERROR")
    assert fall.leaves == () and barred == {"cuda:0"}
    assert fall.problem.code == "DEVICE_FAULTY" and "it broke" in fall.problem.message
    assert fall.problem.details["retry_after_s"] == 60.0


def test_too_little_memory_names_who_has_it(tmp_path: Path) -> None:
    """As the driver knows it."""
    fall, _ = _judged(tmp_path, PINNED, "cuda:0", "GPU_OUT_OF_MEMORY")
    assert fall.problem.code == "GPU_OUT_OF_MEMORY"
    assert f"{COOL.holders[0].name} (pid 7)" in fall.problem.message


@pytest.mark.parametrize(("device", "code"), [("cuda:0", "WORKER_CRASHED"), ("cpu", "GPU_ERROR")])
def test_what_is_no_devices_fault_moves_nobody(tmp_path: Path, device: str, code: str) -> None:
    """A crash is a crash, and the processor is not left."""
    fall, barred = _judged(tmp_path, AUTO, device, code)
    assert fall == Fall(fall.problem) and not barred


def test_a_refusal_before_any_process_is_no_devices_fault(tmp_path: Path) -> None:
    """Nothing ran that could have failed."""

    async def run() -> None:
        room = await Scene(tmp_path).known()
        assert judge(AUTO, None, _problem("GPU_ERROR"), room).leaves == ()

    asyncio.run(run())


def test_devices_that_hold_nothing_are_seen() -> None:
    """One of several that is in use is enough; the engine's own choice is never wrong."""
    said = Listening(1, 2, 1, 512, "b1", ("cuda:1",))
    assert unused(_run_on("cuda:0"), said) == ("cuda:0",)
    assert unused(_run_on("cuda:0,cuda:1"), said) == ()
    assert unused(_run_on("auto"), said) == ()
