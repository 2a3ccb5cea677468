"""All jobs of this queen: made, found, taken up again, cancelled, forgotten. One owner of them.

A job runs in a task of its own, through the same handler as the plain route, and is followed by any
number of clients (`following`). After a death of the queen the journal says what was asked and how
far the answer had come; the next one goes on from there.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rbee.edge.http_server import Request
from rbee.edge.journal import Found, Journal
from rbee.errors import RbeeError
from rbee.policy.attaching import Alone, EndAfter, alone
from rbee.policy.job_life import Event
from rbee.policy.keys import Caller
from rbee.queen.job import Job
from rbee.wire import jobs as wire
from rbee.wire.control import Happened
from rbee.wire.sse import Splitter
from rbee.wire.unreadable import UNREADABLE

if TYPE_CHECKING:
    from rbee.queen.core import Core

_FULL_FOR_S = 10
"""What a refused client is told to wait: some job is over by then, as a rule."""

Run = Callable[[Job], Awaitable[object]]
"""Does the work of a job; what it says goes into the job."""

Made = Callable[[RbeeError | None], None]
"""Told once the journal has a new job, or with why it has not."""


class Jobs:
    """Owner of all jobs. `go_on` does the work of one that an earlier life began."""

    def __init__(self, core: Core, path: Path, go_on: Run) -> None:
        self._core = core
        self._go_on = go_on
        self._loop = asyncio.get_running_loop()
        self._journal = Journal(path)
        self._journal.on_damage = self._damaged
        self._problem: RbeeError | None = None
        """Why the journal could not be opened."""
        self._opening = asyncio.Lock()
        self._jobs: dict[str, Job] = {}
        """In the order in which they were made."""
        self._by_key: dict[tuple[str, str], Job] = {}
        """By caller and Idempotency-Key."""
        self._repeatable: dict[Job, None] = {}
        """What SDKs may ask for again; not in the journal."""
        self._by_body: dict[tuple[str, str], Job] = {}
        """Of those, by caller and body, the last."""
        self._tasks: set[asyncio.Task[None]] = set()
        core.jobs = self

    async def open(self) -> None:
        """Read the journal, and go on with what is not finished."""
        opening = await self._journal.open()
        self._problem = opening.problem
        if opening.damage:
            self._damaged(opening.damage)
        unfinished = sum(self._recall(found) for found in opening.jobs)
        if unfinished:
            error = RbeeError("JOBS_UNFINISHED", jobs=unfinished)
            self._happened(error, done="they are taken up where they were", outcome="ok")

    async def ready(self) -> None:
        """The journal is open. Raises why it cannot be."""
        if self._problem is None:
            return
        async with self._opening:
            if self._problem is not None:
                await self.open()
        if self._problem is not None:
            raise RbeeError.from_report(self._problem.report)

    async def close(self) -> None:
        """End all work; what is not finished stays in the journal."""
        self.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._journal.close()

    def stop(self) -> None:
        """rbee stops: whoever is attached is told."""
        for job in [*self._jobs.values(), *self._repeatable]:
            job.stop()

    def listed(self, caller: Caller) -> list[Job]:
        """The jobs that this caller may see, the oldest first."""
        return [job for job in self._jobs.values() if _may(caller, job)]

    def counts(self) -> Counter[str]:
        """By status."""
        return Counter(str(job.status) for job in self._jobs.values())

    def find(self, text: str, caller: Caller) -> Job:
        """Raises JOB_NOT_FOUND, also for a job that is another's."""
        job = self._jobs.get(wire.job_id_of(text))
        if job is None or not _may(caller, job):
            raise RbeeError("JOB_NOT_FOUND", job=text)
        return job

    def known(self, caller: Caller, key: str, body_hash: str) -> Job | None:
        """The job of that Idempotency-Key, unless it came to nothing. Raises IDEMPOTENCY_CONFLICT
        if it was made for another body."""
        job = self._by_key.get((caller.key_id, key))
        if job is None:
            return None
        if job.record.body_hash != body_hash:
            raise RbeeError("IDEMPOTENCY_CONFLICT", job=job.id)
        came_to_nothing = job.life.ended and job.error is not None
        return None if came_to_nothing else job

    def repeated(self, caller: Caller, body_hash: str) -> Job | None:
        """What an SDK that asks again has asked before, if its answer can still be had."""
        job = self._by_body.get((caller.key_id, body_hash))
        return job if job is not None and job.error is None else None

    def repeatable(self) -> list[Job]:
        """What SDKs may ask for again."""
        return list(self._repeatable)

    def make(self, record: wire.Record, run: Run, *, journalled: bool, on_made: Made) -> Job:
        """A new job; its work begins once the journal has it. Raises JOBS_FULL."""
        job = Job(record, self, self._journal if journalled else None)
        if journalled:
            self._make_room(job.size_bytes)
            self._jobs[job.id] = job
            if record.idempotency_key:
                self._by_key[record.key_id, record.idempotency_key] = job
        else:
            self._repeatable[job] = None
            self._by_body[record.key_id, record.body_hash] = job

        def told(error: RbeeError | None) -> None:
            if error is not None:
                job.fail(error)
                self._forget(job)
            elif job.life.active:
                self._start(job, run)
            on_made(error)

        job.begin(told)
        return job

    # --- jobs tell ---------------------------------------------------------------------------

    def alone(self, job: Job) -> None:
        """Nobody is attached: it may go on, or ends now or soon."""
        timing = self._core.settings.timing
        case = Alone(
            goes_on=job.journalled and job.record.on_disconnect == wire.CONTINUE,
            waits=job.journalled,
            client_waited_s=job.client_waited_s,
            client_timeout_s=job.client_timeout_s,
        )
        decision = alone(case, reattach_s=timing.reattach_s, retry_attach_s=timing.retry_attach_s)
        if isinstance(decision, EndAfter):
            self._end_after(job, decision.wait_s)

    def sealed(self, job: Job) -> None:
        timing = self._core.settings.timing
        kept_s = timing.job_kept_s
        if not job.journalled:
            # Whoever is attached has the answer; else it waits for the client's next try.
            told = job.followers or job.error is not None
            kept_s = 0.0 if told else timing.retry_attach_s
        assert job.outcome is not None
        left_s = job.outcome.ended_at + kept_s - time.time()
        self._loop.call_later(min(kept_s, max(0.0, left_s)), job.tell, Event.OVER)

    def gone(self, job: Job) -> None:
        self._forget(job)

    # --- within ------------------------------------------------------------------------------

    def _end_after(self, job: Job, wait_s: float) -> None:
        if wait_s <= 0:
            job.cancel()
        elif job.alone_timer is None:
            job.alone_timer = self._loop.call_later(wait_s, job.cancel)

    def _start(self, job: Job, run: Run) -> None:
        job.work = asyncio.create_task(self._work(job, run))
        self._tasks.add(job.work)
        job.work.add_done_callback(self._tasks.discard)
        if job.journalled and not job.followers:
            self.alone(job)

    async def _work(self, job: Job, run: Run) -> None:
        try:
            await run(job)
        except RbeeError as error:
            job.broke(error)
        except asyncio.CancelledError:
            if job.life.active:
                job.stop()
        except Exception as exc:
            self._core.mistake(exc, job.id)
            job.broke(RbeeError("INTERNAL", problem=type(exc).__name__))

    def _recall(self, found: Found) -> bool:
        """Whether it is unfinished, and goes on."""
        try:
            record = msgspec.json.decode(found.record, type=wire.Record)
            outcome = (
                msgspec.json.decode(found.outcome, type=wire.Outcome) if found.outcome else None
            )
        except UNREADABLE:
            self._journal.erase(found.number)
            return False
        job = Job(record, self, self._journal)
        events = Splitter(len(found.text) + 1).feed(found.text)
        job.recall(found.number, events, outcome)
        self._jobs[job.id] = job
        if record.idempotency_key:
            self._by_key[record.key_id, record.idempotency_key] = job
        if job.over:
            self.sealed(job)
        else:
            self._start(job, self._taken_up)
        return not job.over

    async def _taken_up(self, job: Job) -> None:
        """What is stored is known once the hive has said so."""
        await self._core.met.wait()
        await self._go_on(job)

    def _make_room(self, size_bytes: int) -> None:
        """Forget the oldest that have ended, as far as the bounds need it. Raises JOBS_FULL."""
        bounds = self._core.settings.bounds
        total = sum(job.size_bytes for job in self._jobs.values()) + size_bytes
        for job in list(self._jobs.values()):
            if total <= bounds.jobs_bytes and len(self._jobs) < bounds.jobs:
                return
            if job.over and job.life.ended:
                total -= job.size_bytes
                job.tell(Event.OVER)
        if total > bounds.jobs_bytes or len(self._jobs) >= bounds.jobs:
            raise RbeeError("JOBS_FULL", jobs=len(self._jobs), retry_after_s=_FULL_FOR_S)

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        self._repeatable.pop(job, None)
        for table, name in (
            (self._by_key, job.record.idempotency_key),
            (self._by_body, job.record.body_hash),
        ):
            if table.get((job.record.key_id, name)) is job:
                del table[job.record.key_id, name]

    def _damaged(self, damage: str) -> None:
        error = RbeeError("JOURNAL_DAMAGED", problem=damage)
        self._happened(error, done="it was moved aside, and a new one begun", outcome="lost")

    def _happened(self, error: RbeeError, *, done: str, outcome: str) -> None:
        report = error.report
        self._core.events.add(
            Happened(
                at=time.time(), code=report.code, what=report.message, done=done, outcome=outcome
            )
        )
        self._core.counters.event(report.code)


def new_id() -> str:
    return "job_" + secrets.token_hex(16)


def request_of(record: wire.Record) -> Request:
    """The request of a job as its handler gets it, with what is left of its time."""
    headers = dict(record.headers)
    if record.deadline_at:
        headers["x-request-timeout"] = str(max(0.001, record.deadline_at - time.time()))
    return Request(
        method="POST",
        target=record.endpoint,
        path=record.endpoint,
        query="",
        headers=tuple(headers.items()),
        body=bytes(record.request),
    )


def _may(caller: Caller, job: Job) -> bool:
    return caller.admin or job.record.key_id == caller.key_id
