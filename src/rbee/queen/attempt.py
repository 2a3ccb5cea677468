"""One try of a request on one worker: sent, watched, relayed, and ended in exactly one way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from rbee.edge.http_client import ConnectionLost, HttpClient, Response
from rbee.errors import RbeeError
from rbee.policy.deadline import HEADER, Deadline
from rbee.policy.progress import Verdict, Watch, judge, stall_limit_s
from rbee.queen.address import endpoint_of, headers_of, path_of
from rbee.queen.relay import Relay
from rbee.settings import Settings
from rbee.wire.attached import foreign_refusal
from rbee.wire.control import WorkerView
from rbee.wire.llama_server import refusal
from rbee.wire.sse import EventTooLarge, Splitter

_LOOK_EVERY_S = 0.25
_ERROR_BODY_BYTES = 1 << 20
_AFTER_FINISH_S = 1.0
"""For what an engine may still say after its finish, the usage above all."""


@dataclass(frozen=True, slots=True)
class Call:
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
        self, client: HttpClient, worker: WorkerView, call: Call, settings: Settings
    ) -> None:
        self._client = client
        self._worker = worker
        self._call = call
        self._settings = settings
        self._endpoint = endpoint_of(worker)
        self._deadline_at = call.deadline.at if call.deadline else None
        self._began_at = asyncio.get_running_loop().time()
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
        request = asyncio.ensure_future(
            self._client.request(self._endpoint, call.method, path, self._headers(), call.body)
        )
        began = asyncio.get_running_loop().time()
        try:
            while not (await asyncio.wait({request}, timeout=_LOOK_EVERY_S))[0]:
                await self._judge(self._silence_since(began), None)
                if watcher is not None and relay is not None:
                    watcher.looked(relay, asyncio.get_running_loop().time())
            response = request.result()
        except ConnectionLost as exc:
            raise self._lost(exc.problem, 0) from exc
        except BaseException:
            _let_go(request)
            raise
        if response.status >= 300:
            body = await self.read(response, _ERROR_BODY_BYTES)
            raise self._refusal(response, body)
        return response

    async def read(self, response: Response, limit_bytes: int) -> bytes:
        """The whole body of an answer that is no stream; as long as bytes come, it may take."""
        reading = asyncio.ensure_future(response.read(limit_bytes))
        try:
            while not (await asyncio.wait({reading}, timeout=_LOOK_EVERY_S))[0]:
                await self._judge(self._silence_since(response.last_byte_at), response)
            return reading.result()
        except ConnectionLost as exc:
            raise self._lost(exc.problem, 0) from exc
        except BaseException:
            reading.cancel()
            response.close()
            raise

    def _silence_since(self, at: float) -> Watch:
        return Watch(at, at, 0, self._deadline_at, pings=not self._worker.attached)

    async def stream(self, response: Response, relay: Relay, watcher: Watcher) -> None:
        """Relay an event stream to its end. Raises what ended it, if it was not its finish."""
        loop = asyncio.get_running_loop()
        sink = _Sink(response, relay, self._settings.bounds.event_bytes, loop)
        response.stream(sink)
        try:
            while not (await asyncio.wait({sink.ended}, timeout=_LOOK_EVERY_S))[0]:
                now = loop.time()
                if relay.slow:
                    sink.progress_at = now
                if relay.complete:
                    # Whatever becomes of the engine now, the answer is whole.
                    late = self._deadline_at is not None and now >= self._deadline_at
                    if late or now - sink.progress_at > _AFTER_FINISH_S:
                        return
                    continue
                watch = Watch(
                    last_byte_at=response.last_byte_at,
                    last_progress_at=sink.progress_at,
                    tokens=relay.tokens,
                    deadline_at=self._deadline_at,
                    client_waits=not relay.slow,
                    batch_s=sink.batch_s,
                    pings=not self._worker.attached,
                )
                await self._judge(watch, response)
                watcher.looked(relay, now)
            problem = sink.ended.result()
        finally:
            self.progress_at = sink.progress_at
            if not sink.ended.done() or sink.broken or relay.over:
                response.close()
            self._measure(sink, relay)
        if relay.problem is not None:
            response.close()
            if not relay.complete:
                raise relay.problem
        if not relay.complete:
            raise self._lost(problem or "its answer ended without a finish", relay.tokens)

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

    async def _judge(self, watch: Watch, response: Response | None) -> None:
        now = asyncio.get_running_loop().time()
        limits, timing = self._settings.limits, self._settings.timing
        verdict = judge(watch, now=now, limits=limits, timing=timing)
        if verdict is Verdict.GO_ON:
            return
        names = {"model": self._call.model, "worker": self._worker.id}
        if verdict is Verdict.DEADLINE and self._call.deadline is not None:
            phase = "being written" if watch.tokens else "reading the prompt"
            allowed_s = self._call.deadline.allowed_s
            raise RbeeError("DEADLINE_EXCEEDED", deadline_s=allowed_s, phase=phase)
        limit_s = round(stall_limit_s(watch, limits, timing), 1)
        if verdict is Verdict.STALLED_WITHIN:
            raise RbeeError("TOKEN_STALL", limit_s=limit_s, **names)
        if verdict is Verdict.STALLED_BEFORE:
            raise RbeeError("FIRST_TOKEN_TIMEOUT", limit_s=limit_s, **names)
        if not await self._answers_probe():
            silent_s = round(now - watch.last_byte_at, 1)
            raise RbeeError("WORKER_HUNG", silent_s=silent_s, **names)

    def _headers(self) -> list[tuple[str, str]]:
        """The worker's, and what is left of the deadline for an engine that heeds it."""
        headers = headers_of(self._worker)
        if self._call.deadline is not None:
            left_s = self._call.deadline.left_s(asyncio.get_running_loop().time())
            headers.append((HEADER, f"{left_s:.3f}"))
        return headers

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


def _let_go(request: asyncio.Future[Response]) -> None:
    """Nobody wants the answer any more, whether its head has come already or not."""
    if not request.cancel() and not request.cancelled() and request.exception() is None:
        request.result().close()


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
        self._response = response
        self._relay = relay
        self._splitter = Splitter(event_bytes)
        self._loop = loop
        self._seen: tuple[int, int] = (0, 0)

    def data(self, chunk: bytes) -> None:
        relay = self._relay
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
            self._response.pause()

    def end(self) -> None:
        cut = self._splitter.pending and not self._relay.complete
        self._end("its answer was cut in the middle of an event" if cut else None)

    def lost(self, problem: str) -> None:
        # What comes after the finish is only the connection's end: the answer is whole.
        self._end(None if self._relay.complete else problem)

    def _end(self, problem: str | None) -> None:
        self.broken = problem is not None
        if not self.ended.done():
            self.ended.set_result(problem)
