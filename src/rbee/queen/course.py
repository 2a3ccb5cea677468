"""The course of one request over its attempts: what failed, who is to blame, what is tried next."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from rbee.errors import RbeeError, Retry
from rbee.policy.splice import DEATHS_BLAMED, Death, is_poison
from rbee.queen.answer import Answer
from rbee.queen.core import Core
from rbee.queen.lanes import Lease
from rbee.queen.roster import LaneKey
from rbee.wire.control import Happened

MAX_ATTEMPTS = 3
"""Enough to pass over two broken workers; more would hide a sick machine behind waiting."""

_CAUSE_WITHIN_S = 1.0
"""How long a broken connection waits for the hive to say why the worker died."""
_CAUSE_REMEMBERED_S = 10.0
"""How long the cause of an earlier attempt's end is listened for meanwhile."""
_BACKOFF_FIRST_S = 0.25
_NOT_AGAIN = frozenset({"FIRST_TOKEN_TIMEOUT", "TOKEN_STALL", "ATTACHED_BUSY", "ATTACHED_KEY"})
"""What the same worker would only say again."""


class Course:
    """What has become of one request so far. One owner: its dispatch."""

    def __init__(self, core: Core, answer: Answer, lane: LaneKey, model: str) -> None:
        self._core = core
        self._answer = answer
        self._lane = lane
        self.model = model
        self._failed: list[_Failed] = []
        self.tried: list[str] = []
        """Workers, newest last: another one is taken if there is one."""

    def failed(self, lease: Lease, error: RbeeError, after_s: float) -> None:
        """An attempt has ended badly; a hung worker is reported at once."""
        worker = lease.worker
        entry = {"worker": worker.id, "code": error.code, "after_ms": round(after_s * 1000)}
        self._answer.attempts.append(entry)
        self.tried.append(worker.id)
        if error.code == "WORKER_HUNG":
            self._core.suspect(worker.id, error)
        cause = None
        if worker.attached:
            self._core.attached.doubt(worker.id)
        elif error.code == "WORKER_LOST":
            cause = asyncio.create_task(self._core.deaths.cause(worker.id, _CAUSE_REMEMBERED_S))
        self._failed.append(_Failed(worker.id, _life(lease), entry, error, cause))

    async def go_on(self, raised: RbeeError) -> None:
        """Return when another attempt may begin. Raises what ends the request."""
        if self._answer.closed or self._answer.finished:
            raise raised
        if raised.report.retry not in (Retry.ELSEWHERE, Retry.SAME):
            raise raised
        elsewhere = self._elsewhere()
        if raised.code in _NOT_AGAIN and not elsewhere:
            raise raised
        if len(self._failed) > 1 or not elsewhere:
            await self._know_causes()
        if is_poison(self._deaths()):
            raise self._quarantined() from raised
        if len(self._failed) >= MAX_ATTEMPTS:
            raise self._exhausted() from raised
        in_work = self._core.counters.running.total()
        if not self._core.budget.take(self._core.clock(), in_work=in_work):
            raise await self.cause(raised)
        if not elsewhere:
            await self._back_off()

    async def cause(self, raised: RbeeError) -> RbeeError:
        """The hive's word on why a worker is gone is better than "the connection broke"."""
        await self._know_causes()
        return self._failed[-1].error if self._failed else raised

    def tell(self, done: str, outcome: str) -> None:
        """Into the log of faults: what befell this request and what was done about it. A cause that
        is still on its way is waited for, at most until the request is over."""
        if not self._failed:
            return
        last = self._failed[-1]
        if last.cause is None:
            self._add(last, done, outcome)
        else:
            last.cause.add_done_callback(lambda _: self._add(last, done, outcome))

    def _add(self, failed: _Failed, done: str, outcome: str) -> None:
        happened = Happened(
            at=time.time(),
            code=failed.code,
            what=f"an answer of {self.model} broke off: {failed.error.report.message}",
            done=done,
            outcome=outcome,
            model=self.model,
            worker=failed.worker,
            job=self._answer.job_id,
            request=self._answer.request_id,
        )
        self._core.events.add(happened)

    def close(self) -> None:
        for one in self._failed:
            one.close()

    def _elsewhere(self) -> bool:
        """Whether a worker serves that was not tried in this life of it."""
        lives = {one.life for one in self._failed}
        return any((one.id, one.pid) not in lives for one in self._core.roster.serving(self._lane))

    async def _know_causes(self) -> None:
        waiting = [one.cause for one in self._failed if one.cause is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=_CAUSE_WITHIN_S)
            await asyncio.sleep(0)  # for those that have ended to be taken note of

    async def _back_off(self) -> None:
        """The same worker again only after a pause; news of workers end it."""
        pause_s = _BACKOFF_FIRST_S * 2 ** (len(self._failed) - 1)
        until = self._core.clock() + pause_s
        news = self._core.watch()
        try:
            while not self._elsewhere() and (left_s := until - self._core.clock()) > 0:
                news.clear()
                try:
                    async with asyncio.timeout(left_s):
                        await news.wait()
                except TimeoutError:
                    return
        finally:
            self._core.unwatch(news)

    def _deaths(self) -> list[Death]:
        deaths = self._core.deaths
        return [
            Death(one.worker, one.code, deaths.shared(one.worker, self.tried))
            for one in self._failed
        ]

    def _quarantined(self) -> RbeeError:
        last = self._failed[-1]
        return RbeeError(
            "REQUEST_QUARANTINED",
            model=self.model,
            deaths=DEATHS_BLAMED,
            worker=last.worker,
            last=last.error.report.message,
        )

    def _exhausted(self) -> RbeeError:
        last = self._failed[-1].error.report
        return RbeeError(
            "ATTEMPTS_EXHAUSTED",
            model=self.model,
            tries=len(self._failed),
            last=last.message,
            cause=last.code,
        )


class _Failed:
    """An attempt that ended badly; its cause may come later."""

    def __init__(
        self,
        worker: str,
        life: tuple[str, int],
        entry: dict[str, Any],
        error: RbeeError,
        cause: asyncio.Task[RbeeError | None] | None,
    ) -> None:
        self.worker = worker
        self.life = life
        self.error = error
        self.cause = cause
        self._entry = entry
        if cause is not None:
            cause.add_done_callback(self._learn)

    @property
    def code(self) -> str:
        return self.error.code

    def close(self) -> None:
        if self.cause is not None:
            self.cause.cancel()

    def _learn(self, cause: asyncio.Task[RbeeError | None]) -> None:
        """Take the hive's word."""
        self.cause = None
        if not cause.cancelled():
            self.error = cause.result() or self.error
            self._entry["code"] = self.error.code


def _life(lease: Lease) -> tuple[str, int]:
    """A worker that was started again is another one."""
    return lease.worker.id, lease.worker.pid
