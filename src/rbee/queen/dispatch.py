"""One request for a model, from its place in line to its end: the only inference retry there is.

The visible loop: take a place in line, get a slot, make an attempt; on a fault before the client
has any of the answer, go elsewhere, at most three times. After that the fault is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbee.errors import RbeeError, Retry
from rbee.policy.admission import Claim
from rbee.queen.answer import Answer
from rbee.queen.attempt import Attempt, Call
from rbee.queen.core import Core
from rbee.queen.lanes import Lease, Ticket
from rbee.queen.relay import Relay
from rbee.queen.roster import LaneKey
from rbee.queen.served_models import Served

MAX_ATTEMPTS = 3
"""Enough to pass over two broken workers; more would hide a sick machine behind waiting."""

_WHOLE_BODY_BYTES = 256 << 20
_CAUSE_WITHIN_S = 1.0
"""How long a broken connection waits for the hive to say why the worker died."""
_LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done: a call, and how its answer is relayed (None: as one body)."""

    served: Served
    lane: LaneKey
    call: Call
    relay: Callable[[Answer], Relay] | None
    edit: Callable[[bytes], bytes] | None = None
    """What is done to a one-body answer before it goes out."""
    claim: Claim = field(default_factory=Claim)
    """What it brings to the door: whose it is, how urgent, and what it asks."""


class Dispatch:
    """Runs tasks. One coroutine per request; cancelling it cancels at the engine."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self, task: Task, answer: Answer) -> None:
        """Answer the request, with its result or with a coded error. Never raises RbeeError."""
        core = self._core
        core.counters.started(task.served.name)
        began = core.clock()
        code = "ok"
        try:
            await self._attempts(task, answer)
        except RbeeError as error:
            code = error.code
            answer.fail(error, spent=bool(answer.attempts))
        except asyncio.CancelledError:
            code = "CANCELLED"
            if not answer.closed:
                code = "SHUTTING_DOWN"
                answer.fail(RbeeError("SHUTTING_DOWN"))
        finally:
            core.counters.ended(task.served.name, code, core.clock() - began)
            core.log_request(
                answer.job_id, task.served.name, task.call.path, code, task.claim.key_id
            )

    async def _attempts(self, task: Task, answer: Answer) -> None:
        tried: list[str] = []
        while True:
            waiter = _Waiting(self._core, task, answer)
            lease = await waiter.lease(tried)
            try:
                await self._attempt(task, answer, lease)
            except RbeeError as raised:
                tried.append(lease.worker.id)
                again = self._may_go_on(raised, answer) and len(tried) < MAX_ATTEMPTS
                error = raised
                if not again or not self._elsewhere(task.lane, tried):
                    error = await self._cause(raised, lease)
                self._note_attempt(answer, lease, error)
                if not again:
                    raise error from raised
            else:
                return

    async def _attempt(self, task: Task, answer: Answer, lease: Lease) -> None:
        core = self._core
        code: str | None = "CANCELLED"
        attempt = Attempt(core.client, lease.worker, task.call, core.settings)
        try:
            answer.worker = lease.worker
            if lease.worker.degraded:
                answer.extra_header("x-rbee-degraded", lease.worker.degraded)
            relay = task.relay(answer) if task.relay is not None else None
            watcher = _Telling(core, task, answer)
            response = await attempt.open(relay, watcher)
            streamed = (response.header("content-type") or "").startswith("text/event-stream")
            if relay is None or not streamed:
                body = await attempt.read(response, _WHOLE_BODY_BYTES)
                kind = response.header("content-type") or "application/json"
                body = task.edit(body) if task.edit is not None else body
                answer.whole(response.status, body, kind)
            else:
                answer.on_room(lambda: attempt.resume(response, relay))
                await attempt.stream(response, relay, watcher)
                relay.finish()
                now = core.clock()
                took_s = now - lease.since
                core.counters.add_tokens(lease.worker.id, relay.tokens, now, took_s=took_s)
            code = None
        except RbeeError as error:
            code = error.code
            raise
        finally:
            times = {"first_token_s": attempt.first_token_s, "gap_s": attempt.gap_s}
            core.health.ended(lease, code, **times)
            core.lanes.release(lease, served=code is None)

    async def _cause(self, error: RbeeError, lease: Lease) -> RbeeError:
        """The hive's word on why a worker is gone is better than "the connection broke"."""
        if error.code == "WORKER_HUNG":
            self._core.suspect(lease.worker.id, error)
            return error
        if error.code != "WORKER_LOST":
            return error
        return await self._core.cause_of_death(lease.worker.id, _CAUSE_WITHIN_S) or error

    def _note_attempt(self, answer: Answer, lease: Lease, error: RbeeError) -> None:
        after_ms = round((self._core.clock() - lease.since) * 1000)
        answer.attempts.append(
            {"worker": lease.worker.id, "code": error.code, "after_ms": after_ms}
        )

    @staticmethod
    def _may_go_on(error: RbeeError, answer: Answer) -> bool:
        """Whether another attempt can help, and the client has no part of an answer yet that it
        would repeat."""
        if answer.closed or answer.delivered or answer.finished:
            return False
        return error.report.retry in (Retry.ELSEWHERE, Retry.SAME)

    def _elsewhere(self, lane: LaneKey, tried: list[str]) -> bool:
        """Whether a worker serves that was not tried: else the next attempt waits for news."""
        return any(one.id not in tried for one in self._core.roster.serving(lane))


class _Waiting:
    """The wait for a slot: bounded in time, visible to the client, ended by a hang-up."""

    def __init__(self, core: Core, task: Task, answer: Answer) -> None:
        self._core = core
        self._task = task
        self._answer = answer
        self._telling = _Telling(core, task, answer)

    async def lease(self, tried: list[str]) -> Lease:
        core, task = self._core, self._task
        core.ensure(task.served, task.lane)
        ticket = core.lanes.enter(
            task.lane,
            loading_slots=task.served.slots,
            tried=(*tried, *self._others()),
            claim=task.claim,
            again=bool(tried),
        )
        try:
            while not ticket.lease.done():
                await asyncio.wait({ticket.lease}, timeout=_LOOK_EVERY_S)
                if not ticket.lease.done():
                    self._check(ticket)
            lease = ticket.lease.result()
            task.served.check(lease.worker.digest)
            return lease
        except BaseException:
            core.lanes.leave(ticket)
            raise

    def _others(self) -> list[str]:
        """Workers of another version than the one that was asked for."""
        pin = self._task.served.pin
        if not pin:
            return []
        serving = self._core.roster.serving(self._task.lane)
        return [one.id for one in serving if one.digest != pin]

    def _check(self, ticket: Ticket) -> None:
        core, call = self._core, self._task.call
        core.check_hive(ticket.lane)
        limit_s = core.settings.limits.queue_wait_s
        if core.lanes.waited_s(ticket) >= limit_s:
            raise RbeeError("QUEUE_TIMEOUT", model=call.model, limit_s=limit_s)
        now = core.clock()
        if call.deadline_at is not None and now >= call.deadline_at:
            phase = "waiting for a slot"
            raise RbeeError("DEADLINE_EXCEEDED", deadline_s=call.deadline_s, phase=phase)
        self._telling.waiting(core.waiting_facts(ticket), now)


class _Telling:
    """Tells a waiting client how things stand: typed events at once, comments after the hold."""

    def __init__(self, core: Core, task: Task, answer: Answer) -> None:
        timing = core.settings.timing
        self._answer = answer
        self._streams = task.relay is not None and answer.streams
        self._every_s = 0.5 if answer.typed_events else timing.comment_every_s
        held_s = 0.25 if answer.typed_events else timing.hold_status_s
        self._next_at = core.clock() + held_s
        self._last: Mapping[str, Any] = {}

    def waiting(self, facts: Mapping[str, Any], now: float) -> None:
        if not self._streams or now < self._next_at:
            return
        self._next_at = now + self._every_s
        if self._answer.typed_events and facts == self._last:
            return
        self._last = facts
        self._answer.note(_words(facts), facts)

    def looked(self, relay: Relay, now: float) -> None:
        if relay.tokens:
            return
        prompt = relay.prompt
        share = prompt.processed / prompt.total if prompt and prompt.total else 0.0
        self.waiting({"phase": "prefill", "progress": round(share, 3)}, now)


def _words(facts: Mapping[str, Any]) -> str:
    if facts["phase"] == "queued":
        wait_s = facts.get("expected_wait_s")
        return f"queued, place {facts['position']}" + (f", about {wait_s:.0f} s" if wait_s else "")
    if facts.get("waits_for"):
        return f"waiting for the memory that {', '.join(facts['waits_for'])} holds"
    if facts["phase"] == "loading":
        return "loading the model"
    return f"reading the prompt, {facts['progress']:.0%}"
