"""Promises of the judge that no whole rbee shows easily: who may be served, and what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.hive.selftest_judge import Judge
from rbee.models.goldens import Goldens
from rbee.models.hashing import Progress
from rbee.policy.selftest import Answer
from rbee.wire.control import ModelWish
from rbee.wire.lifeline import Listening, SelfTest, WorkerSpec
from tests.eventually import soon

DIGEST = "sha256:" + "a" * 64
SOUND, OTHER, RUBBISH = Answer((1, 2, 3)), Answer((1, 2, 4)), Answer((6,), "1 different token")


class _Models:
    """A models room with one file; hashing it tells of progress and does what the test wants."""

    def __init__(self, verify: Callable[[_Models], None] = lambda _: None) -> None:
        self.print = "as it was"
        self.hashed = 0
        self._verify = verify

    async def verify(self, ref: str, progress: Progress) -> None:
        self.hashed += 1
        progress("verifying", 1, 2)
        self._verify(self)

    def identity(self, ref: str) -> object:
        return self.print


class _Court:
    """A judge with real golden answers on disk."""

    def __init__(self, folder: Path, models: _Models | None = None) -> None:
        self.models = models or _Models()
        self.goldens = Goldens(folder)
        self.told: list[str] = []
        self.moves = 0
        self.judge = Judge(self.goldens, self.models, self._tell, Log("hive"))

    def _tell(self, error: RbeeError, done: str, wish: ModelWish, worker: str) -> None:
        self.told.append(error.code)

    def _moved(self) -> None:
        self.moves += 1

    async def verdict(
        self, answer: Answer | None, devices: tuple[str, ...] = ("cpu",), **how: Any
    ) -> str:
        """The code of the refusal; empty: served."""
        vouched = how.pop("vouched", False)
        spec = WorkerSpec("w1", "m", "m.gguf", "sock", "log", DIGEST, digest_known=vouched)
        test = SelfTest("k", answer) if answer else None
        said = Listening(1, 2, 1, 512, "b1", devices, selftest=test)
        refusal = await self.judge.judge(ModelWish("m", "m:1", **how), spec, said, self._moved)
        return refusal.code if refusal else ""

    async def kept(self, answer: Answer) -> None:
        await soon(lambda: self.goldens.of(DIGEST)[0].get("k") == answer)


def test_the_first_sound_answer_is_golden_and_the_same_one_is_served(tmp_path: Path) -> None:
    """No file is hashed for what is as expected, and nothing is told."""

    async def run() -> None:
        court = _Court(tmp_path)
        assert await court.verdict(SOUND) == ""
        await court.kept(SOUND)
        assert await court.verdict(SOUND) == ""
        assert (court.models.hashed, court.told) == (0, [])

    asyncio.run(run())


def test_another_answer_from_a_whole_file_is_told_and_golden_from_then_on(tmp_path: Path) -> None:
    """Its file is hashed first, which counts as progress of the load."""

    async def run() -> None:
        court = _Court(tmp_path)
        court.goldens.keep(DIGEST, "k", SOUND)
        assert await court.verdict(OTHER) == ""
        await court.kept(OTHER)
        assert (court.models.hashed, court.moves, court.told) == (1, 1, ["SELFTEST_CHANGED"])

    asyncio.run(run())


def test_what_hashing_finds_is_the_refusal(tmp_path: Path) -> None:
    """A damaged file with its own code, also for who trusts it; a disk that fails with its own."""

    def refuse(error: RbeeError) -> Callable[[_Models], None]:
        def verify(_: _Models) -> None:
            raise error

        return verify

    async def run() -> None:
        for error in (
            RbeeError("MODEL_CORRUPTED", model="m", problem="it rotted"),
            RbeeError("DISK_IO", act="read", problem="it failed"),
        ):
            court = _Court(tmp_path, _Models(refuse(error)))
            assert await court.verdict(RUBBISH, trust=True) == error.code
            assert court.goldens.of(DIGEST) == ({}, "")

    asyncio.run(run())


def test_a_file_that_was_mended_meanwhile_is_loaded_again(tmp_path: Path) -> None:
    """The hash is right, but the engine holds other bytes: it is a crash, which starts another."""

    def mend(models: _Models) -> None:
        models.print = "mended"

    async def run() -> None:
        assert await _Court(tmp_path, _Models(mend)).verdict(RUBBISH) == "WORKER_CRASHED"

    asyncio.run(run())


def test_the_nature_of_a_model_is_hashed_for_once(tmp_path: Path) -> None:
    """Rubbish from whole bytes on a sound processor is served, told each time, hashed once."""

    async def run() -> None:
        court = _Court(tmp_path)
        assert await court.verdict(RUBBISH, vouched=True) == ""
        await court.kept(RUBBISH)
        assert await court.verdict(RUBBISH, vouched=True) == ""
        assert (court.models.hashed, court.told) == (1, ["SELFTEST_DEGENERATE"] * 2)

    asyncio.run(run())


@pytest.mark.parametrize("how", [{}, {"device": "cuda:0", "fallback": False}])
def test_rubbish_from_a_whole_file_is_the_devices_fault(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    """Also of one that a person insists on: the file is not blamed for it."""
    code = asyncio.run(_Court(tmp_path).verdict(RUBBISH, ("cuda:0",), vouched=True, **how))
    assert code == "DEVICE_FAULTY"


def test_a_worker_of_an_older_rbee_is_served(tmp_path: Path) -> None:
    """It says nothing of a self-test, and it served before."""
    assert asyncio.run(_Court(tmp_path).verdict(None)) == ""


def test_golden_answers_that_cannot_be_written_hinder_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is served; the log says why nothing was kept."""

    async def run() -> None:
        (tmp_path / "goldens").write_text("in the way")
        court = _Court(tmp_path)
        assert await court.verdict(SOUND) == ""
        await soon(lambda: "could not be kept" in capsys.readouterr().err)

    asyncio.run(run())
