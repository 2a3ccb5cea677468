"""One request for a model, from its place in line to its end: the only inference retry there is.

The visible loop: take a place in line, get a slot, make an attempt; on a fault go elsewhere, at
most three times. What the client already has is taken up by the next attempt where that can be
done (`queen.tries`); else the fault is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rbee.errors import RbeeError, Retry
from rbee.policy.admission import Claim
from rbee.queen.answer import Answer
from rbee.queen.attempt import Attempt, Call
from rbee.queen.core import Core
from rbee.queen.course import Course
from rbee.queen.lanes import Lease
from rbee.queen.relay import Relay
from rbee.queen.roster import LaneKey
from rbee.queen.served_models import Served
from rbee.queen.tries import ChatTries, PlainTries, Talk, Tries
from rbee.queen.waiting import Telling, Waiting
from rbee.wire.attached import renaming
from rbee.wire.llama_server import is_json
from rbee.wire.problem import header_text
from rbee.wire.transcript import Transcript

_WHOLE_BODY_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done: a call, and how its answer is relayed (None: as one body)."""

    served: Served
    lane: LaneKey
    call: Call
    relay: Callable[[Answer], Relay] | None = None
    edit: Callable[[bytes], bytes] | None = None
    """What is done to a one-body answer before it goes out."""
    talk: Talk | None = None
    """Chat and completions: relayed and spliced by what is said here."""
    claim: Claim = field(default_factory=Claim)
    """What it brings to the door: whose it is, how urgent, and what it asks."""

    @property
    def streams(self) -> bool:
        """Whether the engine is asked for a stream."""
        return self.relay is not None or self.talk is not None


class Dispatch:
    """Runs tasks. One coroutine per request; cancelling it cancels at the engine."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self, task: Task, answer: Answer, transcript: Transcript | None = None) -> None:
        """Answer the request, with its result or with a coded error. Never raises RbeeError.

        `transcript`: what the client was given before, by a queen that is no more.
        """
        core = self._core
        core.counters.started(task.served.name)
        core.budget.requested(core.clock())
        course = Course(core, answer, task.lane, task.served.name)
        tries = self._tries(task, answer, transcript or Transcript(), course)
        began = core.clock()
        code = "ok"
        try:
            core.poison.check(task.served.name, task.claim.conversation.mark)
            await self._attempts(task, answer, tries, course)
        except RbeeError as error:
            code = error.code
            self._give_up(task, answer, error, tries, course)
        except asyncio.CancelledError:
            code = "CANCELLED"
            if not answer.closed:
                code = "SHUTTING_DOWN"
                answer.fail(RbeeError("SHUTTING_DOWN"))
        finally:
            course.close()
            core.counters.ended(task.served.name, code, core.clock() - began)
            core.log_request(
                answer.job_id,
                answer.request_id,
                task.served.name,
                task.call.path,
                code,
                task.claim.key_id,
            )

    def _tries(self, task: Task, answer: Answer, transcript: Transcript, course: Course) -> Tries:
        if task.talk is None:
            return PlainTries(task.call, answer, task.relay)
        return ChatTries(self._core, task.call, task.talk, answer, transcript, course)

    async def _attempts(self, task: Task, answer: Answer, tries: Tries, course: Course) -> None:
        waiting = Waiting(
            self._core, task.served, task.lane, task.call, task.claim, self._telling(task, answer)
        )
        again = False
        while not tries.complete():
            lease = await waiting.lease(course.tried, again=again)
            again = True
            try:
                await self._attempt(task, answer, lease, tries)
            except RbeeError as raised:
                if tries.objected(raised):
                    continue
                after_s = self._core.clock() - lease.since
                course.failed(lease, raised, after_s)
                if not tries.repairable:
                    raise await course.cause(raised) from raised
                await course.go_on(raised)
            else:
                return

    async def _attempt(self, task: Task, answer: Answer, lease: Lease, tries: Tries) -> None:
        core, worker = self._core, lease.worker
        code: str | None = "CANCELLED"
        times: dict[str, float | None] = {}
        try:
            call, relay = tries.prepare(lease)
            attempt = Attempt(core.client, core.lookout, worker, call, core.settings)
            answer.worker = worker
            if worker.degraded:
                answer.extra_header("x-rbee-degraded", header_text(worker.degraded))
            try:
                await self._relayed(task, answer, attempt, relay)
            finally:
                times = {"first_token_s": attempt.first_token_s, "gap_s": attempt.gap_s}
                tries.ended(attempt)
                if relay is not None:
                    self._count(lease, relay)
            code = None
        except RbeeError as error:
            code = error.code
            raise
        finally:
            core.health.ended(lease, code, **times)
            core.lanes.release(lease, served=code is None)

    def _count(self, lease: Lease, relay: Relay) -> None:
        core, id_, now = self._core, lease.worker.id, self._core.clock()
        core.counters.add_tokens(id_, relay.tokens, now, took_s=now - lease.since)
        if relay.prompt is not None:
            core.speeds.measured(id_, relay.prompt)

    async def _relayed(
        self, task: Task, answer: Answer, attempt: Attempt, relay: Relay | None
    ) -> None:
        watcher = self._telling(task, answer) if relay is not None else None
        response = await attempt.open(relay, watcher)
        kind = response.header("content-type") or "application/json"
        streamed = relay is not None and kind.startswith("text/event-stream")
        foreign = answer.worker if answer.worker and answer.worker.attached else None
        if not streamed:
            page = not kind.startswith("application/json")
            if page or (relay is not None and (answer.delivered or foreign)):
                response.close()
                problem = "it sent no JSON" if page else "it did not go on with the stream"
                raise _rubbish(task, problem)
        if relay is None or watcher is None or not streamed:
            body = await attempt.read(response, _WHOLE_BODY_BYTES)
            if not is_json(body):
                raise _rubbish(task, "it sent no JSON")
            rename = renaming(foreign.theirs, task.served.name) if foreign else None
            body = rename(body) if rename is not None else body
            body = task.edit(body) if task.edit is not None else body
            answer.whole(response.status, body, kind)
            return
        answer.on_room(lambda: attempt.resume(response, relay))
        await attempt.stream(response, relay, watcher)
        relay.finish()

    def _give_up(
        self, task: Task, answer: Answer, error: RbeeError, tries: Tries, course: Course
    ) -> None:
        """Nothing is left to try: the client is told, with what there is."""
        if error.code == "REQUEST_QUARANTINED" and course.tried:
            mark = task.claim.conversation.mark
            self._core.poison.remember(task.served.name, mark, error.report)
        if course.tried and not answer.closed and error.report.retry is not Retry.NEVER:
            self._core.counters.lost[course.model] += 1
            course.tell(f"given up after {len(course.tried)} attempts; the client was told", "lost")
        if tries.partial:
            report = error.report
            details = {**report.details, "partial": tries.partial}
            error = RbeeError.from_report(replace(report, details=details))
        answer.fail(error, spent=bool(answer.attempts))

    def _telling(self, task: Task, answer: Answer) -> Telling:
        return Telling(self._core, answer, streams=task.streams and answer.streams)


def _rubbish(task: Task, problem: str) -> RbeeError:
    return RbeeError("WORKER_LOST", model=task.served.name, tokens=0, problem=problem)
