"""Attached to a job: its events from any point on, in the shape that this client asked for.

Each follower has its own place in the job's text and its own pace: one that does not read holds up
neither the job nor the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

import msgspec

from rbee.errors import RbeeError
from rbee.policy.job_life import State
from rbee.queen.answer import Answer, Dialect
from rbee.queen.job import Job
from rbee.settings import Timing
from rbee.wire.assembly import Assembly
from rbee.wire.jobs import CHAT, only_usage, payload
from rbee.wire.problem import encode

_AT_ONCE = 256
"""Events written together, so that a long text is not one long turn of the loop."""


class Shape(Enum):
    """How a client wants the answer."""

    EVENTS = "events"
    """Each event with its id: `GET /v1/jobs/{id}/stream`."""
    STREAM = "stream"
    """As the plain route streams it."""
    STREAM_WITH_USAGE = "stream with usage"
    WHOLE = "whole"
    """One object at the end."""


class Following:
    """One client that follows one job."""

    def __init__(
        self, job: Job, answer: Answer, shape: Shape, timing: Timing, *, after: int = 0
    ) -> None:
        loop = asyncio.get_running_loop()
        self._job = job
        self._answer = answer
        self._shape = shape
        self._at = after
        self._over: asyncio.Future[None] = loop.create_future()
        self._clock: Callable[[], float] = loop.time
        self._comment_every_s = timing.comment_every_s
        self._since = loop.time()
        self._comment_at = self._since + timing.hold_status_s
        self._whole = Whole(job)
        self._headed = False

    async def run(self) -> None:
        """Until the job is over; cancelled when the client hangs up."""
        self._answer.name_job(self._job.id)
        self._answer.on_room(self.look)
        self._job.attach(self)
        try:
            self.look()
            await self._over
            while self._shape is Shape.WHOLE and self._whole.read(_AT_ONCE):
                await asyncio.sleep(0)
            self._finish()
        finally:
            self._job.detach(self, self._clock() - self._since)

    def look(self) -> None:
        if self._over.done() or self._answer.closed:
            return
        if self._shape is Shape.WHOLE:
            if self._job.over:
                self._over.set_result(None)
            else:
                self._whole.read(_AT_ONCE)
            return
        while self._at < self._job.kept_count:
            upto = min(self._job.kept_count, self._at + _AT_ONCE)
            data = self._rendered(self._at, upto)
            self._at = upto
            if data and not self._send(data):
                return
        if self._job.over:
            self._over.set_result(None)

    def note(self, words: str, facts: Mapping[str, Any]) -> None:
        """Typed events at once; comments as seldom as on a plain route."""
        if self._shape is Shape.WHOLE or self._over.done():
            return
        now = self._clock()
        if not self._answer.typed_events:
            if now < self._comment_at:
                return
            self._comment_at = now + self._comment_every_s
        self._answer.note(words, facts)

    def _send(self, data: bytes) -> bool:
        self._head()
        return self._answer.send(data)

    def _head(self) -> None:
        """What the work had to say before the first byte."""
        if not self._headed:
            self._headed = True
            for name, value in dict(self._job.headers).items():
                self._answer.extra_header(name, value)

    def _rendered(self, start: int, stop: int) -> bytes:
        if self._shape is Shape.EVENTS:
            with_id = self._job.with_id
            return b"".join([with_id(number) for number in range(start + 1, stop + 1)])
        pieces = self._job.pieces[start:stop]
        if self._shape is Shape.STREAM:
            pieces = [piece for piece in pieces if not only_usage(payload(piece))]
        return b"".join(pieces)

    def _finish(self) -> None:
        job, answer = self._job, self._answer
        self._head()
        if job.status is not State.DONE:
            if self._shape is Shape.EVENTS:
                answer.begin_stream()
            answer.attempts = list(job.attempts)
            answer.fail(self._error(), spent=bool(job.attempts))
        elif job.whole is not None:
            answer.whole(*job.whole)
        elif self._shape is Shape.WHOLE:
            answer.whole(200, encode(self._whole.result()))
        else:
            answer.begin_stream()
            answer.finish_stream(done_mark=answer.dialect is Dialect.OPENAI)

    def _error(self) -> RbeeError:
        """What ended the job, with what there is of the answer for a client that has none of it."""
        error = self._job.error or RbeeError("CANCELLED")
        partial = self._whole.text if self._shape is Shape.WHOLE else ""
        if not partial:
            return error
        details = {**error.report.details, "partial": partial}
        return RbeeError.from_report(replace(error.report, details=details))


class Whole:
    """The answer of a job put together as one object, as far as it may be told, or to an event."""

    def __init__(self, job: Job, most: int | None = None) -> None:
        self._job = job
        self._most = most
        self._assembly = Assembly(chat=job.record.endpoint == CHAT)
        self._facts: dict[str, Any] = {}
        self._at = 0

    def read(self, some: int) -> bool:
        """Take some more; True: there is still more."""
        end = self._job.kept_count if self._most is None else self._most
        upto = min(end, self._at + some)
        for piece in self._job.pieces[self._at : upto]:
            data = payload(piece)
            self._assembly.add(data)
            if b'"rbee":' in data:
                self._facts = {"rbee": msgspec.json.decode(data)["rbee"]}
        self._at = upto
        return upto < end

    @property
    def text(self) -> str:
        """Of the first choice."""
        choices = self._assembly.result()["choices"]
        first = choices[0] if choices else {}
        return str(first.get("text") or (first.get("message") or {}).get("content") or "")

    def result(self) -> dict[str, Any]:
        """Of what was read."""
        return {**self._assembly.result(), **self._facts}
