"""One try of a request on one worker: sent, watched, relayed, and ended in exactly one way."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from rbee.edge.http_client import ConnectionLost, HttpClient, Response
from rbee.errors import RbeeError
from rbee.policy.deadline import HEADER, Deadline
from rbee.policy.progress import Verdict, Watch, judge, stall_limit_s
from rbee.queen.address import endpoint_of, headers_of, path_of
from rbee.queen.lookout import Guard, Lookout
from rbee.queen.relay import Relay
from rbee.settings import Settings
from rbee.wire.attached import foreign_refusal
from rbee.wire.control import WorkerView
from rbee.wire.llama_server import refusal
from rbee.wire.sse import EventTooLarge, Splitter

_ERROR_BODY_BYTES = 1 << 20
_AFTER_FINISH_S = 1.0
"""For what an engine may still say after its finish, the usage above all."""


class Call(msgspec.Struct, frozen=True):
    """What is asked of a worker."""

    method: str
    path: str
    body: bytes
    model: str
    deadline: Deadline | None


class Watcher(Protocol):
    """Who wants to know how the attempt gets on."""

    def looked(self, relay: Relay, now: float) -> None:
        """Called about every quarter of a second."""


class Attempt:
    """Runs a call on a leased worker. Cancelling `run` closes the connection to the engine,
    which is how an engine learns that nobody wants the rest."""

    def __init__(
        self,
        client: HttpClient,
        lookout: Lookout,
        worker: WorkerView,
        call: Call,
        settings: Settings,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._lookout = lookout
        self._worker = worker
        self._call = call
        self._settings = settings
        self._endpoint = endpoint_of(worker)
        self._deadline_at = call.deadline.at if call.deadline else None
        self._began_at = self._loop.time()
        self._guard: Guard | None = None
        """Of the present wait."""
        self._probe: asyncio.Task[None] | None = None
        self.progress_at = 0.0
        """When the stream made progress last; 0: it never began."""
        self.first_token_s: float | None = None
        """From its begin to its first token; None: there was none."""
        self.gap_s: float | None = None
        """Mean time between its tokens; None: too few, or the client did not always read."""

    async def open(self, relay: Relay | None, watcher: Watcher | None) -> Response:
        """Send the call and wait for the head of the answer, watching all the while.

        Raises the engine's refusal, WORKER_LOST, WORKER_HUNG, FIRST_TOKEN_TIMEOUT or
        DEADLINE_EXCEEDED.
        """
        call = self._call
        path = path_of(self._worker, call.path)
        began = self._loop.time()

        def look(now: float) -> RbeeError | None:
            error = self._judge(self._silence_since(began), now)
            if error is None and watcher is not None and relay is not None:
                watcher.looked(relay, now)
            return error

        with self._lookout.guard(look) as self._guard:
            try:
                response = await self._client.request(
                    self._endpoint,
                    call.method,
                    path,
                    headers_of(self._worker),
                    call.body,
                    more=self._more_headers(),
                )
            except ConnectionLost as exc:
                raise self._lost(exc.problem, 0) from exc
        if response.status >= 300:
            body = await self.read(response, _ERROR_BODY_BYTES)
            raise self._refusal(response, body)
        return response

    async def read(self, response: Response, limit_bytes: int) -> bytes:
        """The whole body of an answer that is no stream; as long as bytes come, it may take."""
        if (body := response.whole(limit_bytes)) is not None:
            return body

        def look(now: float) -> RbeeError | None:
            return self._judge(self._silence_since(response.last_byte_at), now)

        with self._lookout.guard(look) as self._guard:
            try:
                return await response.read(limit_bytes)
            except ConnectionLost as exc:
                raise self._lost(exc.problem, 0) from exc

    def _silence_since(self, at: float) -> Watch:
        return Watch(at, at, 0, self._deadline_at, pings=not self._worker.attached)

    async def stream(self, response: Response, relay: Relay, watcher: Watcher) -> None:
        """Relay an event stream to its end. Raises what ended it, if it was not its finish."""
        sink = _Sink(response, relay, self._settings.bounds.event_bytes, self._loop)

        def look(now: float) -> RbeeError | None:
            return self._look_at(sink, now, watcher)

        response.stream(sink)
        try:
            with self._lookout.guard(look) as self._guard:
                problem = await sink.ended
        finally:
            self.progress_at = sink.progress_at
            if sink.ended.cancelled() or sink.broken or relay.over:
                response.close()
            self._measure(sink, relay)
        if relay.problem is not None:
            response.close()
            if not relay.complete:
                raise relay.problem
        if not relay.complete:
            raise self._lost(problem or "its answer ended without a finish", relay.tokens)

    def _look_at(self, sink: _Sink, now: float, watcher: Watcher) -> RbeeError | None:
        """Whether a stream gets on."""
        relay = sink.relay
        if relay.slow:
            sink.progress_at = now
        if relay.complete:
            # Whatever becomes of the engine now, the answer is whole.
            late = self._deadline_at is not None and now >= self._deadline_at
            if late or now - sink.progress_at > _AFTER_FINISH_S:
                sink.leave()
            return None
        watch = Watch(
            last_byte_at=sink.response.last_byte_at,
            last_progress_at=sink.progress_at,
            tokens=relay.tokens,
            deadline_at=self._deadline_at,
            client_waits=not relay.slow,
            batch_s=sink.batch_s,
            pings=not self._worker.attached,
        )
        error = self._judge(watch, now)
        if error is None:
            watcher.looked(relay, now)
        return error

    def _measure(self, sink: _Sink, relay: Relay) -> None:
        if sink.first_token_at is None:
            return
        self.first_token_s = sink.first_token_at - self._began_at
        if relay.tokens > 1 and not sink.paused:
            self.gap_s = (sink.progress_at - sink.first_token_at) / (relay.tokens - 1)

    def resume(self, response: Response, relay: Relay) -> None:
        """The client has read: let the engine go on."""
        if relay.slow:
            relay.slow = False
            response.resume()

    def _judge(self, watch: Watch, now: float) -> RbeeError | None:
        """What ends the attempt, if anything does. A worker that is silent is asked whether it
        lives, and meanwhile the attempt goes on."""
        limits, timing = self._settings.limits, self._settings.timing
        verdict = judge(watch, now=now, limits=limits, timing=timing)
        if verdict is Verdict.GO_ON:
            return None
        names = {"model": self._call.model, "worker": self._worker.id}
        if verdict is Verdict.DEADLINE and self._call.deadline is not None:
            phase = "being written" if watch.tokens else "reading the prompt"
            allowed_s = self._call.deadline.allowed_s
            return RbeeError("DEADLINE_EXCEEDED", deadline_s=allowed_s, phase=phase)
        limit_s = round(stall_limit_s(watch, limits, timing), 1)
        if verdict is Verdict.STALLED_WITHIN:
            return RbeeError("TOKEN_STALL", limit_s=limit_s, **names)
        if verdict is Verdict.STALLED_BEFORE:
            return RbeeError("FIRST_TOKEN_TIMEOUT", limit_s=limit_s, **names)
        if self._probe is None and self._guard is not None:
            self._probe = asyncio.create_task(self._ask_whether_it_lives(self._guard, watch))
        return None

    async def _ask_whether_it_lives(self, guard: Guard, watch: Watch) -> None:
        """Ends the wait under this guard if the worker does not answer."""
        try:
            if not await self._answers_probe():
                silent_s = round(self._loop.time() - watch.last_byte_at, 1)
                names = {"model": self._call.model, "worker": self._worker.id}
                guard.end(RbeeError("WORKER_HUNG", silent_s=silent_s, **names))
        finally:
            self._probe = None

    def _more_headers(self) -> list[tuple[str, str]]:
        """What is left of the deadline, for an engine that heeds it."""
        if self._call.deadline is None:
            return []
        left_s = self._call.deadline.left_s(self._loop.time())
        return [(HEADER, f"{left_s:.3f}")]

    async def _answers_probe(self) -> bool:
        try:
            async with asyncio.timeout(self._settings.timing.probe_s):
                response = await self._client.request(
                    self._endpoint, "GET", "/health", headers_of(self._worker)
                )
                await response.read(_ERROR_BODY_BYTES)
        except (TimeoutError, ConnectionLost):
            return False
        return True

    def _refusal(self, response: Response, body: bytes) -> RbeeError:
        call, worker = self._call, self._worker
        if worker.attached:
            after = response.header("retry-after")
            said = foreign_refusal(response.status, after, model=call.model, worker=worker.id)
            if said is not None:
                return said
        return refusal(response.status, body, model=call.model, path=call.path)

    def _lost(self, problem: str, tokens: int) -> RbeeError:
        return RbeeError(
            "WORKER_LOST",
            model=self._call.model,
            tokens=tokens,
            problem=problem,
            worker=self._worker.id,
        )


class _Sink:
    """Where the bytes of a response arrive; `ended` is set once, with what broke it or None."""

    def __init__(
        self,
        response: Response,
        relay: Relay,
        event_bytes: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.ended: asyncio.Future[str | None] = loop.create_future()
        self.progress_at = loop.time()
        self.batch_s = 0.0
        """The longest time between two signs of progress in the prompt."""
        self.first_token_at: float | None = None
        self.paused = False
        """The client did not read for a while."""
        self.broken = False
        self.response = response
        self.relay = relay
        self._splitter = Splitter(event_bytes)
        self._loop = loop
        self._seen: tuple[int, int] = (0, 0)

    def data(self, chunk: bytes) -> None:
        relay = self.relay
        try:
            for event in self._splitter.feed(chunk):
                relay.take(event)
        except EventTooLarge:
            self._end("it sent an event beyond all bounds")
            return
        prompt = relay.prompt.processed if relay.prompt else 0
        if (relay.tokens, prompt) != self._seen:
            now = self._loop.time()
            if prompt > self._seen[1] > 0:
                self.batch_s = max(self.batch_s, now - self.progress_at)
            if relay.tokens and self.first_token_at is None:
                self.first_token_at = now
            self._seen = (relay.tokens, prompt)
            self.progress_at = now
        if relay.problem is not None or relay.over:
            self._end(None)
        elif relay.slow:
            self.paused = True
            self.response.pause()

    def end(self) -> None:
        cut = self._splitter.pending and not self.relay.complete
        self._end("its answer was cut in the middle of an event" if cut else None)

    def lost(self, problem: str) -> None:
        # What comes after the finish is only the connection's end: the answer is whole.
        self._end(None if self.relay.complete else problem)

    def leave(self) -> None:
        """The answer is whole, and the engine's end of it is not waited for any longer."""
        self._end(None)
        self.broken = True

    def _end(self, problem: str | None) -> None:
        self.broken = problem is not None
        if not self.ended.done():
            self.ended.set_result(problem)
