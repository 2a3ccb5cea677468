"""One worker: starts the engine, tells the hive how it goes, ends when told or forsaken.

Everything that happens becomes an event of `worker.life`; what the table answers is done here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from rbee.edge.disk import free_bytes
from rbee.errors import RbeeError
from rbee.policy import crashes
from rbee.version import VERSION
from rbee.wire import lifeline, problem
from rbee.wire.lifeline import WorkerSpec, decode_spec
from rbee.wire.unreadable import UNREADABLE
from rbee.worker import describe, engine_http, selftest
from rbee.worker.engine_command import KEY_VARIABLE, engine_command, rbee_device
from rbee.worker.engine_log import EngineLog
from rbee.worker.engine_process import EngineProcess, exit_as
from rbee.worker.life import Effect, Event, Life, State
from rbee.worker.lifeline import Lifeline
from rbee.worker.pooling import pooling_of

LOOK_S = 0.05
"""How often a loading engine is looked at."""

IDLE_LOOK_S = 2.0
"""`/slots` is polled no faster, or the engine does not see hang-ups (docs/measured.md)."""

FINISH_S = 30.0
"""Longest time that a forsaken worker gives to what runs on it."""

_CONNECT_S = 2.0
"""For the hive to be there when a worker fails before it has dialled."""

_FLUSH_S = 0.5
_FRACTION_STEP = 0.01
_LOG_BYTES = 1 << 20
"""More than a load writes."""


def run(spec_path: Path) -> int:
    """The life of one worker. The exit code, unless the engine died of a signal: then of that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        spec = decode_spec(spec_path.read_bytes())
    except (OSError, *UNREADABLE) as exc:
        print(f"rbee worker: its spec cannot be read: {exc}", file=sys.stderr)
        return 2
    returncode = asyncio.run(Supervisor(spec, str(spec_path)).run())
    if returncode < 0:
        exit_as(returncode)
    return returncode


class Supervisor:
    """Owner of one worker's life."""

    def __init__(self, spec: WorkerSpec, spec_path: str) -> None:
        self._spec = spec
        self._spec_path = spec_path
        self._key = os.environ.get(KEY_VARIABLE, "")
        self._life = Life()
        self._log = EngineLog(Path(spec.log))
        self._engine: EngineProcess | None = None
        self._listening: lifeline.Listening | None = None
        self._failed: lifeline.LoadFailed | None = None
        self._selftest: lifeline.SelfTest | None = None
        self._blame: RbeeError | None = None
        self._fraction = 0.0
        self._stop_asked = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._lifeline = Lifeline(
            Path(spec.lifeline),
            spec.orphan_s,
            standing=self._standing,
            on_stop=lambda: self._tell(Event.STOP),
            on_orphaned=lambda: self._tell(Event.ORPHANED),
        )

    async def run(self) -> int:
        """Until the worker is done; its exit code, negative for a signal."""
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[int] = self._loop.create_future()
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self._start(self._lifeline.keep())
        try:
            self._start_engine()
        except RbeeError as error:
            # The engine could not even be started.
            print(f"rbee worker: {error}", file=sys.stderr, flush=True)
            self._say_failed(error)
            await self._last_words()
            return 1
        self._build = asyncio.ensure_future(asyncio.to_thread(self._read_build))
        self._start(self._watch_load())
        returncode = await self._done
        await self._last_words()
        for task in self._tasks:
            task.cancel()
        return returncode

    # --- the engine ---------------------------------------------------------------------------

    def _start_engine(self) -> None:
        spec = self._spec
        self._check_device()
        pooling = pooling_of(Path(spec.path)) if spec.mode == "embedding" else "none"
        command = engine_command(spec, self._spec_path, os.environ, pooling)
        try:
            self._engine = EngineProcess(
                command.argv, command.environment, lambda: self._tell(Event.ENGINE_ENDED)
            )
        except OSError as exc:
            name = Path(spec.engine_path or command.argv[0]).name
            raise RbeeError("ENGINE_MISSING", problem=f"{name}: {exc.strerror}") from exc

    def _check_device(self) -> None:
        """A device that was asked for by name and is not there is said, never fallen back from."""
        if self._spec.device in ("auto", "cpu"):
            return
        view = describe.ask_about(self._spec.engine_path)
        available = [device.id for device in view.devices if device.usable]
        absent = [one for one in self._spec.device.split(",") if one not in available]
        if absent:
            raise RbeeError(
                "DEVICE_UNAVAILABLE",
                device=", ".join(absent),
                available=available,
                model=self._spec.model,
                worker=self._spec.id,
            )

    async def _watch_load(self) -> None:
        """Tells progress (log lines, memory filled) until the engine answers 200 on its port."""
        size_bytes = _size_bytes(Path(self._spec.path))
        while self._life.state is State.LOADING:
            new_lines = self._log.read()
            fraction = self._filled(size_bytes)
            if new_lines or fraction >= self._fraction + _FRACTION_STEP:
                self._fraction = max(fraction, self._fraction)
                self._lifeline.say(lifeline.Loading(self._fraction))
            if not self._log.port and not new_lines and self._log_has_no_room():
                return
            if self._log.port and await engine_http.is_healthy(self._log.port):
                await self._test_itself()
                return
            await asyncio.sleep(LOOK_S)

    def _log_has_no_room(self) -> bool:
        """The engine's log takes no more, so that its port will never be known: it is ended."""
        folder = Path(self._spec.log).parent
        try:
            free = free_bytes(folder)
        except OSError:
            return False
        if free or self._engine is None:
            return False
        self._blame = RbeeError("DISK_FULL", needed_bytes=_LOG_BYTES, free_bytes=free)
        self._engine.end()
        return True

    async def _test_itself(self) -> None:
        """Serve only what computes; the hive judges the answer."""
        self._lifeline.say(lifeline.Loading(self._fraction))
        build = await asyncio.shield(self._build)
        try:
            self._selftest = await selftest.run(
                self._spec, self._log.port, self._key, build, self._devices()
            )
        except ConnectionError:
            # It is dying: ENGINE_ENDED follows, and tells what of.
            return
        except TimeoutError:
            facts = {"model": self._spec.model, "worker": self._spec.id}
            self._blame = RbeeError("LOADING_TIMEOUT", limit_s=self._spec.selftest_s, **facts)
            if self._engine is not None:
                self._engine.end()
            return
        self._tell(Event.ENGINE_LISTENS)

    def _filled(self, size_bytes: int) -> float:
        """How much of the file is in memory: every tensor is read while it is checked."""
        if self._engine is None or size_bytes == 0:
            return 0.0
        return min(0.99, self._engine.resident_bytes / size_bytes)

    def _read_build(self) -> str:
        if self._spec.engine == "llama-server":
            return describe.binary_build(self._spec.engine_path)
        return describe.built_in_build()

    # --- events and what they bring -------------------------------------------------------------

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        """Marked at once: a group's SIGTERM ends the engine too, and that was asked for then."""
        self._stop_asked = True
        self._loop.call_soon_threadsafe(self._tell, Event.STOP)

    def _tell(self, event: Event) -> None:
        if event is Event.ENGINE_ENDED and self._stop_asked:
            self._tell(Event.STOP)
        try:
            for effect in self._life.tell(event):
                self._do(effect)
        except Exception as mistake:
            self._fail(mistake)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Effect.SAY_LISTENING:
                self._listening = self._describe_listening()
                self._lifeline.say(self._listening)
            case Effect.SAY_FAILED:
                self._say_failed(self._cause())
            case Effect.WAIT_FOR_IDLE:
                self._start(self._wait_for_idle())
            case Effect.END_ENGINE:
                if self._engine is not None:
                    self._engine.end()
            case Effect.EXIT_CLEAN:
                self._done.set_result(0)
            case Effect.EXIT_AS_ENGINE:
                self._done.set_result(self._returncode())

    def _returncode(self) -> int:
        return (self._engine.returncode if self._engine is not None else None) or 0

    def _cause(self) -> RbeeError:
        if self._blame is not None:
            return self._blame
        returncode = self._returncode()
        return crashes.classify(
            returncode=returncode if returncode >= 0 else None,
            signal=-returncode if returncode < 0 else None,
            log_tail=self._log.tail(),
            oom_kills=0,
            asked=False,
            model=self._spec.model,
            worker=self._spec.id,
        ).error()

    def _say_failed(self, error: RbeeError) -> None:
        self._failed = lifeline.LoadFailed(problem.to_problem(error.report))
        self._lifeline.say(self._failed)

    async def _last_words(self) -> None:
        """What was said has left; an engine may fail sooner than the hive is dialled."""
        if self._failed is not None:
            await self._lifeline.connected(_CONNECT_S)
        await self._lifeline.flush(_FLUSH_S)

    async def _wait_for_idle(self) -> None:
        """Bounded by FINISH_S: whoever still reads then is cut off."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + FINISH_S
        port = self._log.port
        while loop.time() < ends_at and not await engine_http.is_idle(port, self._key):
            await asyncio.sleep(IDLE_LOOK_S)
        self._tell(Event.IDLE)

    # --- what the hive hears --------------------------------------------------------------------

    def _standing(self) -> list[lifeline.FromWorker]:
        told: list[lifeline.FromWorker] = [
            lifeline.WorkerHello(self._spec.id, os.getpid(), VERSION)
        ]
        if self._failed is not None:
            told.append(self._failed)
        elif self._listening is not None:
            told.append(self._listening)
        elif self._fraction:
            told.append(lifeline.Loading(self._fraction))
        return told

    def _devices(self) -> tuple[str, ...]:
        """What the engine uses, as its log says; one that is silent about it was started with the
        devices of the spec, or would have ended."""
        if not self._log.devices and self._spec.device not in ("auto", "cpu"):
            return tuple(self._spec.device.split(","))
        used = {rbee_device(name) for name in self._log.devices} - {"cpu"}
        return tuple(sorted(used)) or ("cpu",)

    def _describe_listening(self) -> lifeline.Listening:
        return lifeline.Listening(
            port=self._log.port,
            engine_pid=self._engine.pid if self._engine is not None else 0,
            slots=self._spec.slots,
            context_tokens=self._spec.context_tokens,
            build=self._build.result(),
            devices=self._devices(),
            offloaded=self._log.offloaded,
            selftest=self._selftest,
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that failed is a mistake of ours: it ends the worker, loudly."""
        self._tasks.discard(task)
        if not task.cancelled() and (mistake := task.exception()):
            self._fail(mistake)

    def _fail(self, mistake: BaseException) -> None:
        if not self._done.done():
            self._done.set_exception(mistake)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
