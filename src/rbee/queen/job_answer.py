"""The answer of a job: what its work says goes into the job, and from there to whoever follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rbee.edge.http_server import Exchange, Request
from rbee.errors import RbeeError
from rbee.queen.answer import Answer, Dialect
from rbee.queen.job import Job
from rbee.wire import sse
from rbee.wire.jobs import Mark, payload
from rbee.wire.transcript import Conditions, Transcript


class JobAnswer(Answer):
    """Looks like the answer to a client that reads as fast as one can, and asked for a stream."""

    def __init__(
        self,
        job: Job,
        exchange: Exchange,
        dialect: Dialect,
        event_bytes: int,
        *,
        accepted: bool = False,
    ) -> None:
        super().__init__(exchange, job_id=job.id, dialect=dialect, headers=(), typed_events=True)
        self.turned_away = False
        """There was no place in line for a job that had been accepted already."""
        self._job = job
        self._accepted = accepted
        self._splitter = sse.Splitter(event_bytes)
        self.attempts, self.splices = job.attempts, job.splices
        self._told = Transcript.of(payload(piece) for piece in job.pieces)
        self._told.conditions = job.mark.conditions
        self._told.prompt_tokens = job.mark.prompt_tokens
        self._told.continued = job.mark.continued
        self.transcript = self._told
        self._journalled = job.journalled
        self._marked: tuple[Conditions | None, int] = (job.mark.conditions, self._changes)

    @property
    def closed(self) -> bool:
        return not self._job.life.active

    def taken(self) -> None:
        if not self.closed:
            self._job.taken()

    def extra_header(self, name: str, value: str) -> None:
        self._job.headers.append((name, value))

    def begin_stream(self) -> None:
        """Its clients begin theirs when there is something to send."""

    def send(self, data: bytes) -> bool:
        self.delivered = True
        if self.closed:
            return True
        if self._journalled:
            self._mark()
        if data.startswith(b"data: {") and data.find(b"\n\n") == len(data) - 2:
            self._job.add(data)
            return True
        for event in self._splitter.feed(data):
            if event.data is not None and event.data != b"[DONE]":
                self._job.add(event.raw)
        return True

    @property
    def _changes(self) -> int:
        return len(self.attempts) + len(self.splices)

    def _mark(self) -> None:
        told = self._told
        conditions, changes = self._marked
        if told.conditions is conditions and changes == self._changes:
            return
        self._marked = (told.conditions, self._changes)
        self._job.remember(
            Mark(
                told.conditions,
                told.prompt_tokens,
                told.continued,
                tuple(dict(one) for one in self.attempts),
                tuple(dict(one) for one in self.splices),
            )
        )

    def note(self, words: str, facts: Mapping[str, Any]) -> None:
        if not self.closed and not self._done:
            self._job.note(words, facts)

    def finish_stream(self, *, done_mark: bool) -> None:
        self._done = True
        if not self.closed:
            self._job.finished()

    def whole(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self._done = True
        self.delivered = status < 400
        if self.place is not None:
            self.place.count(body)
        if not self.closed:
            self._job.whole = (status, body, content_type)
            self._job.finished()

    def fail(self, error: RbeeError, *, spent: bool = True) -> None:
        if self._done:
            return
        self._done = True
        if self._accepted and error.code == "QUEUE_FULL":
            self.turned_away = True
        else:
            self._job.broke(error)

    def on_room(self, call: Callable[[], None]) -> None:
        """There always is."""


def without_client(request: Request) -> Exchange:
    """The exchange of a request behind which nobody waits."""
    exchange = Exchange(_Nobody(), request)
    exchange.closed = True
    return exchange


class _Nobody:
    """A connection that is gone."""

    keeps_open = False
    writable = True
    waiting_to_write_bytes = 0

    def send(self, data: bytes) -> None:
        """Dropped."""

    def send_soon(self) -> None:
        """Dropped."""

    def ended(self, exchange: Exchange) -> None:
        """Nobody waits for the next one."""

    def hang_up(self) -> None:
        """It has."""
