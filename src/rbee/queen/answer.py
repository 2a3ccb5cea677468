"""The client's side of one request: held status, comments, error events, the end.

The status line is held until the first token, an error, or 10 s, so that a refusal has its true
status (docs/measured.md, Clients). After that the client sees our own comments while it waits.
What never goes out on an OpenAI route: `id:`, `retry:`, an empty `data:`, a bare `:`: they crash
real SDKs (docs/measured.md, Clients).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from rbee.edge.http_server import Exchange
from rbee.errors import RbeeError, Report
from rbee.queen.allowance import Place
from rbee.wire import problem, sse
from rbee.wire.control import WorkerView
from rbee.wire.request_id import taken_over
from rbee.wire.transcript import Transcript

Headers = Sequence[tuple[str, str]]


class Dialect(Enum):
    """Whose protocol a route speaks; decides how a stream ends."""

    OPENAI = "openai"
    RESPONSES = "responses"
    ANTHROPIC = "anthropic"
    NATIVE = "native"


class Answer:
    """Owner of one exchange from the first to the last byte."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        job_id: str,
        dialect: Dialect,
        headers: Headers,
        typed_events: bool = False,
    ) -> None:
        self.exchange = exchange
        self.job_id = job_id
        self.request_id = taken_over(exchange.request.header("x-request-id"))
        """The id that the client chose; empty: none, and the job's is told in its place."""
        self.dialect = dialect
        self.streams = False
        """Whether the client asked for a stream; set once the request is parsed."""
        self.typed_events = typed_events
        self.delivered = False
        self._worker: WorkerView | None = None
        self.attempts: list[Mapping[str, Any]] = []
        self.place: Place | None = None
        """What the request takes of its key's limits, left when the visit ends. Who goes on with
        the request after that takes it away from here."""
        self.splices: list[Mapping[str, Any]] = []
        self.transcript: Transcript | None = None
        """What an earlier life of the queen has given the client; None: nothing."""
        told = self.request_id or job_id
        self._headers = [*headers, ("x-request-id", told)]
        if self.request_id:
            self._headers.append(("x-rbee-job", job_id))
        if dialect is Dialect.ANTHROPIC:
            self._headers.append(("request-id", told))  # where Anthropic's SDK looks
        self._done = False

    @property
    def closed(self) -> bool:
        """Nobody wants it any more: what is written is dropped."""
        return self.exchange.closed

    @property
    def worker(self) -> WorkerView | None:
        """The worker of the present attempt."""
        return self._worker

    @worker.setter
    def worker(self, worker: WorkerView | None) -> None:
        self._worker = worker
        self.taken()

    def taken(self) -> None:
        """A worker has the request."""

    @property
    def finished(self) -> bool:
        return self._done

    def name_job(self, job_id: str) -> None:
        """This is the answer of a job that has an id already."""
        self._headers = [
            (name, job_id if value == self.job_id else value) for name, value in self._headers
        ]
        self.job_id = job_id

    def extra_header(self, name: str, value: str) -> None:
        """Add a header; without effect once the status line is out."""
        self._headers.append((name, value))

    def extra_headers(self, more: Headers) -> None:
        self._headers += more

    def begin_stream(self) -> None:
        """Send 200 and the headers of an event stream, once."""
        if not self.exchange.started and not self.exchange.closed:
            head = [("content-type", "text/event-stream"), ("cache-control", "no-store")]
            self.exchange.start(200, [*head, *self._headers])

    def send(self, data: bytes) -> bool:
        """Stream a part of the answer; False: the client is slow, pause until it has read."""
        self.delivered = True
        return self._write(data)

    def _write(self, data: bytes) -> bool:
        self.begin_stream()
        return self.exchange.write(data)

    def note(self, words: str, facts: Mapping[str, Any]) -> None:
        """Tell a waiting client what it waits for, in the way that it can bear."""
        if self.closed or self._done:
            return
        if self.typed_events:
            data = problem.encode({"choices": [], "rbee": facts})
            self._write(sse.encode(data, name="rbee"))
        else:
            self._write(sse.comment(words))

    def finish_stream(self, *, done_mark: bool) -> None:
        self._done = True
        if self.closed:
            return
        if done_mark:
            self._write(sse.DONE)
        self.exchange.finish()

    def whole(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """A complete answer in one piece."""
        self._done = True
        self.delivered = status < 400
        if self.place is not None:
            self.place.count(body, whole=True)
        if not self.closed:
            self.exchange.respond(status, [("content-type", content_type), *self._headers], body)

    def fail(self, error: RbeeError, *, spent: bool = True) -> None:
        """End with an error: its true status if that can still be sent, else its error event."""
        report = error.report
        if self._done or self.closed:
            self._done = True
            return
        if self.exchange.started:
            self.exchange.write(self._error_event(report))
            self.finish_stream(done_mark=self.dialect is Dialect.OPENAI)
            return
        self._done = True
        head = [("content-type", "application/json"), *self._headers]
        head += problem.headers(report, spent=spent)
        self.exchange.respond(report.status, head, problem.encode(self._error_body(report)))

    def on_room(self, call: Callable[[], None]) -> None:
        self.exchange.on_writable = call

    def _error_body(self, report: Report) -> dict[str, Any]:
        if self.dialect is Dialect.ANTHROPIC:
            return problem.anthropic_body(report, job_id=self.job_id)
        return problem.body(report, job_id=self.job_id, attempts=self.attempts)

    def _error_event(self, report: Report) -> bytes:
        body = self._error_body(report)
        if self.dialect is Dialect.ANTHROPIC:
            return sse.encode(problem.encode(body), name="error")
        if self.dialect is Dialect.RESPONSES:
            # Its own shape is flat; OpenAI's SDK raises only what stands in `error`.
            error = {**body["error"], **body, "type": "error"}
            return sse.encode(problem.encode(error), name="error")
        return sse.encode(problem.encode(body))
