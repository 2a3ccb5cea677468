"""One try of a request on one worker: sent, watched, relayed, and ended in exactly one way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from rbee.edge.http_client import ConnectionLost, Endpoint, HttpClient, Response
from rbee.errors import RbeeError
from rbee.policy.progress import Verdict, Watch, judge
from rbee.queen.relay import Relay
from rbee.settings import Settings
from rbee.wire.control import WorkerView
from rbee.wire.llama_server import refusal
from rbee.wire.sse import EventTooLarge, Splitter

_LOOK_EVERY_S = 0.25
_ERROR_BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of a worker."""

    method: str
    path: str
    body: bytes
    model: str
    deadline_at: float | None
    deadline_s: float


class Watcher(Protocol):
    """Who wants to know how the attempt gets on."""

    def looked(self, relay: Relay, now: float) -> None:
        """Called about every quarter of a second."""


def worker_headers(worker: WorkerView) -> list[tuple[str, str]]:
    return [
        ("host", f"127.0.0.1:{worker.port}"),
        ("authorization", f"Bearer {worker.key}"),
        ("content-type", "application/json"),
    ]


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
        self._endpoint = Endpoint("127.0.0.1", worker.port)
        self._began_at = asyncio.get_running_loop().time()
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
        request = asyncio.ensure_future(
            self._client.request(
                self._endpoint, call.method, call.path, worker_headers(self._worker), call.body
            )
        )
        began = asyncio.get_running_loop().time()
        try:
            while not (await asyncio.wait({request}, timeout=_LOOK_EVERY_S))[0]:
                await self._judge(Watch(began, began, 0, call.deadline_at), None)
                if watcher is not None and relay is not None:
                    watcher.looked(relay, asyncio.get_running_loop().time())
            response = request.result()
        except ConnectionLost as exc:
            raise self._lost(exc.problem, 0) from exc
        except BaseException:
            _let_go(request)
            raise
        if response.status >= 400:
            body = await self.read(response, _ERROR_BODY_BYTES)
            raise refusal(response.status, body, model=call.model, path=call.path)
        return response

    async def read(self, response: Response, limit_bytes: int) -> bytes:
        """The whole body of an answer that is no stream."""
        try:
            return await response.read(limit_bytes)
        except ConnectionLost as exc:
            raise self._lost(exc.problem, 0) from exc
        except asyncio.CancelledError:
            response.close()
            raise

    async def stream(self, response: Response, relay: Relay, watcher: Watcher) -> None:
        """Relay an event stream to its end. Raises what ended it, if it was not its finish."""
        loop = asyncio.get_running_loop()
        sink = _Sink(response, relay, self._settings.bounds.event_bytes, loop)
        response.stream(sink)
        try:
            while not (await asyncio.wait({sink.ended}, timeout=_LOOK_EVERY_S))[0]:
                if relay.slow:
                    sink.progress_at = loop.time()
                watch = Watch(
                    last_byte_at=response.last_byte_at,
                    last_progress_at=sink.progress_at,
                    tokens=relay.tokens,
                    deadline_at=self._call.deadline_at,
                    client_waits=not relay.slow,
                )
                await self._judge(watch, response)
                watcher.looked(relay, loop.time())
            problem = sink.ended.result()
        finally:
            if not sink.ended.done() or sink.broken:
                response.close()
            self._measure(sink, relay)
        if relay.problem is not None:
            response.close()
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
        if verdict is Verdict.DEADLINE:
            phase = "being written" if watch.tokens else "reading the prompt"
            raise RbeeError("DEADLINE_EXCEEDED", deadline_s=self._call.deadline_s, phase=phase)
        if verdict is Verdict.STALLED_WITHIN:
            raise RbeeError("TOKEN_STALL", limit_s=limits.stall_s, **names)
        if verdict is Verdict.STALLED_BEFORE:
            raise RbeeError("FIRST_TOKEN_TIMEOUT", limit_s=limits.stall_s, **names)
        if not await self._answers_probe():
            silent_s = round(now - watch.last_byte_at, 1)
            raise RbeeError("WORKER_HUNG", silent_s=silent_s, **names)

    async def _answers_probe(self) -> bool:
        try:
            async with asyncio.timeout(self._settings.timing.probe_s):
                response = await self._client.request(
                    self._endpoint, "GET", "/health", worker_headers(self._worker)
                )
                await response.read(_ERROR_BODY_BYTES)
        except (TimeoutError, ConnectionLost):
            return False
        return True

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
        if relay.problem is not None:
            self._end(None)
            return
        prompt = relay.prompt.processed if relay.prompt else 0
        if (relay.tokens, prompt) != self._seen:
            self._seen = (relay.tokens, prompt)
            self.progress_at = self._loop.time()
            if relay.tokens and self.first_token_at is None:
                self.first_token_at = self.progress_at
        if relay.slow:
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
