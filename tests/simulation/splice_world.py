"""Workers that fail by the roll of a seed, a hive that brings others, clients that look and listen.

Queen, lanes, dispatch, relays and policies are the product's own; only sockets, processes and time
are played here. A word tells its place and who said it: `0.17a ` is word 17 of choice 0, as a
worker with the file `a` says it.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rbee.edge.http_client import ConnectionLost
from rbee.queen.answer import Answer, Dialect
from rbee.queen.attempt import Call
from rbee.queen.core import Core
from rbee.queen.dispatch import Dispatch, Task
from rbee.queen.events import Events
from rbee.queen.tries import Talk
from rbee.settings import Settings
from rbee.wire.control import Happened, ModelView, Problem, Suspect, WorkerGone, WorkerView
from rbee.wire.control import WorkerChanged as Changed
from rbee.wire.resumption import shape_of
from tests.simulation.speech import speech

MODEL = "tiny"
LANE = (MODEL, "chat")
TOKEN_S = 0.02
FAULTS = ("kill", "crash", "hang", "stall", "cut", "garble", "error", "end", "done", "refuse")


class QuietEvents(Events):
    """The log of faults, without its file."""

    def __init__(self) -> None:
        self.told: list[Happened] = []

    def add(self, happened: Happened) -> None:
        self.told.append(happened)


@dataclass
class Run:
    """One request on one worker."""

    worker: SimWorker
    response: SimResponse
    words: list[bytes]
    fault: str
    fault_after: int
    said: int = 0
    over: bool = False

    def go_on(self) -> None:
        """Say the next event, or break."""
        if self.over or self.worker.hung:
            return
        if self.fault and self.said >= self.fault_after:
            self.worker.world.breaks(self)
            return
        if self.said == len(self.words):
            self.end()
            return
        event = self.words[self.said]
        self.said += 1
        self.response.feed(event)
        self.worker.world.loop.call_later(self.worker.token_s, self.go_on)

    def end(self) -> None:
        self.over = True
        self.worker.runs.discard(self)
        self.response.end()

    def lose(self, problem: str) -> None:
        self.over = True
        self.worker.runs.discard(self)
        self.response.lose(problem)

    def __hash__(self) -> int:
        return id(self)


class SimResponse:
    """What the product's HTTP client would give."""

    def __init__(self, loop: asyncio.AbstractEventLoop, status: int = 200) -> None:
        self.status = status
        self.last_byte_at = loop.time()
        self.run: Run | None = None
        self._loop = loop
        self._sink: Any = None
        self._held: list[Callable[[Any], None]] = []
        self._reading = True

    def header(self, name: str) -> str | None:
        kind = "text/event-stream" if self.status == 200 else "application/json"
        return kind if name == "content-type" else None

    async def read(self, limit_bytes: int) -> bytes:
        return b'{"error":{"message":"sick","code":500}}' if self.status != 200 else b"{}"

    def whole(self, limit_bytes: int) -> bytes | None:
        return None

    def stream(self, sink: Any) -> None:
        self._sink = sink
        self._tell()

    def pause(self) -> None:
        self._reading = False

    def resume(self) -> None:
        self._reading = True
        self._tell()

    def close(self) -> None:
        self._sink = None
        if self.run is not None and not self.run.over:
            self.run.over = True
            self.run.worker.runs.discard(self.run)

    def feed(self, data: bytes) -> None:
        self.last_byte_at = self._loop.time()
        self._held.append(lambda sink: sink.data(data))
        self._tell()

    def end(self) -> None:
        self._held.append(lambda sink: sink.end())
        self._tell()

    def lose(self, problem: str) -> None:
        self._held.append(lambda sink: sink.lost(problem))
        self._tell()

    def _tell(self) -> None:
        while self._held and self._sink is not None and self._reading:
            self._held.pop(0)(self._sink)


@dataclass
class SimWorker:
    """A process that says words."""

    world: SpliceWorld
    view: WorkerView
    salt: str
    token_s: float
    alive: bool = True
    hung: bool = False
    runs: set[Run] = field(default_factory=set)


class SimClient:
    """Stands where the HTTP client stands."""

    connects = 0

    def __init__(self, world: SpliceWorld) -> None:
        self._world = world

    async def request(
        self, endpoint: Any, method: str, path: str, headers: Any, body: bytes = b"", more: Any = ()
    ) -> SimResponse:
        loop = self._world.loop
        worker = self._world.workers.get(endpoint.port)
        if worker is None or not worker.alive:
            raise ConnectionLost("refused", sent=False)
        if worker.hung:
            await loop.create_future()
        if path == "/health":
            return SimResponse(loop)
        return self._world.asked(worker, json.loads(body))


class Listener:
    """An exchange, as `Answer` needs it, and what the client made of it."""

    def __init__(self, world: SpliceWorld) -> None:
        self.closed = False
        self.started = False
        self.status = 0
        self.body = b""
        self.over = False
        self.on_writable: Callable[[], None] = lambda: None
        self.request = self
        self._world = world

    def header(self, _: str) -> str:
        return ""

    def start(self, status: int, headers: Any) -> None:
        self.started, self.status = True, status

    def write(self, data: bytes) -> bool:
        assert not self.over, "written after the end"
        self.body += data
        if self._world.dice.random() < 0.01:
            self._world.loop.call_later(self._world.dice.uniform(0.1, 8), self._read)
            return False
        return True

    def _read(self) -> None:
        if not self.over:
            self.on_writable()

    def finish(self) -> None:
        self.over = True

    def respond(self, status: int, headers: Any, body: bytes) -> None:
        assert not self.started and not self.over
        self.started = self.over = True
        self.status, self.body = status, body


class SpliceWorld:
    """One seed, one history."""

    def __init__(self, seed: int, loop: asyncio.AbstractEventLoop) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.loop = loop
        self.workers: dict[int, SimWorker] = {}
        self.events = QuietEvents()
        wishes: Any = _NoWishes()
        self.core = Core(Settings(home="/nowhere"), wishes, self.events, lambda *a, **k: None)
        self.core.client = SimClient(self)  # type: ignore[assignment]
        self.core.link.tell = self._hear  # type: ignore[method-assign, assignment]
        self.core.roster.hive_connected = True
        self.core.roster.models = (ModelView(MODEL, MODEL, 1, "sha256:a", "test", 1.0),)
        self.faulty = self.dice.choice([0.0, 0.3, 0.6, 1.0])
        self.salts = self.dice.choice(["a", "a", "ab"])
        """The files that workers have: with one of them, all say the same."""
        self._ports = 0
        for _ in range(self.dice.randint(1, 3)):
            self.bring()

    # --- the hive ----------------------------------------------------------------------------

    def bring(self) -> None:
        """Another worker is ready."""
        self._ports += 1
        salt = self.dice.choice(self.salts)
        view = WorkerView(
            f"w{self._ports}",
            "h",
            MODEL,
            MODEL,
            "chat",
            "READY",
            pid=self._ports,
            port=self._ports,
            slots=2,
            device="cpu",
            digest=f"sha256:{salt}",
            build="b1",
            settings="s",
        )
        slow = self.dice.choice([1, 1, 1, 10])
        self.workers[self._ports] = SimWorker(self, view, salt, TOKEN_S * slow)
        self.core._hear(Changed(view))

    def kill(self, worker: SimWorker, code: str) -> None:
        """Its process is gone: connections break at once, the hive sees it a little later."""
        if not worker.alive:
            return
        worker.alive = False
        for run in list(worker.runs):
            run.lose("reset")
        self.loop.call_later(self.dice.uniform(0.01, 0.5), self._gone, worker, code)

    def _gone(self, worker: SimWorker, code: str) -> None:
        problem = Problem(code, f"It ended: {code}", retry="elsewhere")
        self.core._hear(WorkerGone(worker.view.id, MODEL, "chat", problem))
        self.loop.call_later(self.dice.uniform(0.5, 5), self.bring)

    def _hear(self, message: object) -> None:
        if isinstance(message, Suspect):
            for worker in self.workers.values():
                if worker.view.id == message.worker:
                    self.kill(worker, "WORKER_HUNG")

    # --- engines -----------------------------------------------------------------------------

    def asked(self, worker: SimWorker, body: dict[str, Any]) -> SimResponse:
        fault = self.dice.choice(FAULTS) if self.dice.random() < self.faulty else ""
        if fault == "refuse":
            return SimResponse(self.loop, 500)
        response = SimResponse(self.loop)
        cached = 0 if body.get("cache_prompt") is False else self.dice.choice([0, 40])
        words = speech(body, worker.salt, cached, self.dice)
        after = self.dice.randint(0, len(words))
        run = Run(worker, response, words, fault, after)
        response.run = run
        worker.runs.add(run)
        self.loop.call_later(self.dice.uniform(0.05, 1), run.go_on)
        return response

    def breaks(self, run: Run) -> None:
        worker = run.worker
        match run.fault:
            case "kill":
                self.kill(worker, "WORKER_KILLED")
            case "crash":
                self.kill(worker, "WORKER_CRASHED")
            case "hang":
                worker.hung = True
            case "stall":
                self._ping(run)
            case "cut":
                run.lose("reset")
            case "garble":
                run.response.feed(b"data: {rubbish\n\n")
                run.end()
            case "error":
                run.response.feed(b'data: {"error":{"code":500,"message":"decode"}}\n\n')
                run.end()
            case "done":
                run.response.feed(b"data: [DONE]\n\n")
                run.end()
            case _:
                run.end()

    def _ping(self, run: Run) -> None:
        if not run.over and not run.worker.hung:
            run.response.feed(b":\n\n")
            self.loop.call_later(1.0, self._ping, run)

    # --- requests ----------------------------------------------------------------------------

    def ask(self, number: int) -> Request:
        return Request(self, number)


class _NoWishes:
    """Wishes without their file."""

    def put(self, wish: object, *, lasting: bool) -> bool:
        return False

    def forget_passing(self, lane: object) -> None:
        return


class Request:
    """A client's request and its whole life."""

    def __init__(self, world: SpliceWorld, number: int) -> None:
        dice = world.dice
        self.world = world
        self.listener = Listener(world)
        self.stream = dice.random() < 0.8
        self.body: dict[str, Any] = {
            "messages": [{"role": "user", "content": "hi"}],
            "temperature": dice.choice([0, 0.8]),
            "words": dice.randint(1, 30),
            "seed": number,
        }
        if dice.random() < 0.3:
            self.body["max_tokens"] = dice.randint(1, 30)
        if dice.random() < 0.3:
            self.body["response_format"] = {"type": "json_object"}
        if dice.random() < 0.2:
            self.body["n"] = 2
        self.exact = dice.random() < 0.2
        self.hang_up_s = dice.uniform(0.0, 3.0) if dice.random() < 0.15 else None
        self.hung_up = False

    async def live(self) -> None:
        core = self.world.core
        exchange: Any = self.listener
        answer = Answer(exchange, job_id="job", dialect=Dialect.OPENAI, headers=())
        answer.streams = self.stream
        talk = Talk(
            self.body,
            shape_of(self.body, chat=True),
            exact=self.exact,
            stream=self.stream,
            wants_usage=True,
            facts=lambda: {"attempts": answer.attempts, "splices": answer.splices},
        )
        served = core.models.find(MODEL, core.roster.models)
        task = Task(served, LANE, Call("POST", "/v1/chat/completions", b"", MODEL, None), talk=talk)
        work = asyncio.ensure_future(Dispatch(core).run(task, answer))
        if self.hang_up_s is not None:
            await asyncio.wait({work}, timeout=self.hang_up_s)
            if not work.done():
                self.listener.closed = self.hung_up = True
                work.cancel()
        await work
