"""What a hive makes of a worker's self-test: serve it, or end it with a cause.

`policy.selftest` decides; here the golden answers are read and kept, a file in doubt is hashed
again, and what a person should know becomes an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.models.goldens import Goldens
from rbee.models.hashing import Progress
from rbee.policy.selftest import KEPT, Answer, File, Seen, Verdict, decide
from rbee.wire.control import ModelWish
from rbee.wire.lifeline import Listening, SelfTest, WorkerSpec

_CPU = "cpu"
_CODES = {
    Verdict.SERVE_CHANGED: "SELFTEST_CHANGED",
    Verdict.SERVE_NATURE: "SELFTEST_DEGENERATE",
    Verdict.SERVE_TRUSTED: "SELFTEST_DEGENERATE",
}
_DONE = {
    Verdict.SERVE_CHANGED: "its file was hashed again and is whole; the new answer is kept",
    Verdict.SERVE_NATURE: "its file is whole: served as it is",
    Verdict.SERVE_TRUSTED: "served, as --trust asks for",
}


class Models(Protocol):
    """What the judge needs of the models room."""

    async def verify(self, ref: str, progress: Progress) -> object:
        """Hash the file again. Raises MODEL_CORRUPTED, MODEL_FILE_MISSING, DISK_…"""
        ...

    def identity(self, ref: str) -> object:
        """Changes when the file was touched."""
        ...


Tell = Callable[[RbeeError, str, ModelWish, str], None]
"""An event: what was found, what was done, for which wish and worker."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One self-test of one worker."""

    wish: ModelWish
    spec: WorkerSpec
    said: Listening
    test: SelfTest


class Judge:
    """Owner of what is remembered of self-tests."""

    def __init__(self, goldens: Goldens, models: Models, tell: Tell, log: Log) -> None:
        self._goldens = goldens
        self._models = models
        self._tell = tell
        self._log = log
        self._keeping: set[asyncio.Task[None]] = set()

    async def goldens(self, digest: str) -> Mapping[str, Answer]:
        """The golden answers of this digest; a damaged file of them is told and counts as none."""
        found, problem = await asyncio.to_thread(self._goldens.of, digest)
        if problem:
            self._log.warning("golden answers are lost and taken anew", problem=problem)
        return found

    async def judge(
        self, wish: ModelWish, spec: WorkerSpec, said: Listening, moved: Callable[[], None]
    ) -> RbeeError | None:
        """None: it may serve. Else why not: MODEL_CORRUPTED, MODEL_SELFTEST_FAILED, DEVICE_FAULTY,
        DISK_…; WORKER_CRASHED when its file became another one meanwhile. `moved` is called while a
        file is hashed."""
        if said.selftest is None:
            return None
        case = _Case(wish, spec, said, said.selftest)
        seen = Seen(
            last=case.test.answer,
            golden=(await self.goldens(spec.digest)).get(case.test.key),
            file=File.UNREAD,
            vouched=spec.digest_known,
            accelerated=set(said.devices) != {_CPU},
            trusted=wish.trust,
        )
        verdict = decide(seen)
        problem = None
        if verdict is Verdict.HASH_AGAIN:
            problem = await self._hashed_again(case, moved)
            if problem is not None and problem.code != "MODEL_CORRUPTED":
                return problem
            verdict = decide(replace(seen, file=File.BAD if problem else File.GOOD))
        return self._follow(verdict, case, problem)

    async def _hashed_again(self, case: _Case, moved: Callable[[], None]) -> RbeeError | None:
        ref = case.wish.ref
        before = self._models.identity(ref)
        try:
            await self._models.verify(ref, lambda *_: moved())
        except RbeeError as error:
            return error
        if self._models.identity(ref) == before:
            return None
        cause = "its file was another one when it was loaded"
        return RbeeError("WORKER_CRASHED", model=case.wish.name, worker=case.spec.id, cause=cause)

    def _follow(self, verdict: Verdict, case: _Case, problem: RbeeError | None) -> RbeeError | None:
        if verdict in KEPT:
            self._keep(case)
        if verdict in _CODES:
            self._tell(self._event(verdict, case), _DONE[verdict], case.wish, case.spec.id)
        match verdict:
            case Verdict.REFUSE_FILE:
                return problem
            case Verdict.NEXT_DEVICE:
                return self._next_device(case)
            case Verdict.REFUSE:
                return self._refusal(case)
        return None

    def _event(self, verdict: Verdict, case: _Case) -> RbeeError:
        facts = {"model": case.wish.name, "device": ", ".join(case.said.devices)}
        if verdict is Verdict.SERVE_CHANGED:
            return RbeeError("SELFTEST_CHANGED", **facts)
        return RbeeError("SELFTEST_DEGENERATE", problem=case.test.answer.flaw, **facts)

    def _refusal(self, case: _Case) -> RbeeError:
        flaw = case.test.answer.flaw
        return RbeeError("MODEL_SELFTEST_FAILED", model=case.wish.name, problem=flaw)

    def _next_device(self, case: _Case) -> RbeeError:
        """The bytes are right and the answer is not."""
        return RbeeError(
            "DEVICE_FAULTY",
            device=", ".join(one for one in case.said.devices if one != _CPU),
            model=case.wish.name,
            problem=f"it computes rubbish, though the file is whole ({case.test.answer.flaw})",
        )

    def _keep(self, case: _Case) -> None:
        """Written beside the serving: whoever waits for the model does not wait for the disk."""

        async def write() -> None:
            try:
                await asyncio.to_thread(
                    self._goldens.keep, case.spec.digest, case.test.key, case.test.answer
                )
            except RbeeError as error:
                self._log.warning("a golden answer could not be kept", problem=str(error))

        task = asyncio.create_task(write())
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
