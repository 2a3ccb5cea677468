"""The one owner of a worker: tells its life what happened and does the effects that come back.

Everything runs on the hive's loop; nothing is awaited between a look at the state and the leap that
follows from it. What takes time (preparing, stopping, cleaning) runs as a task that comes back with
an event. An owner keeps its place over several processes; each process has an id of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, ClassVar

from rbee.errors import RbeeError
from rbee.hive import death
from rbee.hive.health import until_deaf
from rbee.hive.room import Holding
from rbee.hive.surroundings import Surroundings
from rbee.hive.worker_run import WorkerRun
from rbee.hive.worker_start import start_run
from rbee.policy import restart
from rbee.policy.worker_life import Effect, Event, Life, State
from rbee.wire.control import ModelWish, Problem
from rbee.wire.lifeline import FromWorker, Listening, LoadFailed, Loading, WorkerHello
from rbee.wire.problem import from_problem, to_problem

_ADMITTED = frozenset({State.STARTING, State.LOADING, State.READY, State.BUSY})
"""States of a worker that may become, or has become, ready."""


class WorkerOwner:
    """One seat of a wish, and the process that sits in it."""

    def __init__(self, wish: ModelWish, hive: Surroundings, *, restarts: int = 0) -> None:
        self.wish = wish
        self.id = ""
        self.life = Life()
        self.run: WorkerRun | None = None
        self.busy = 0
        self.answers = 0
        """Times that it became idle again: answers served, as seen from here."""
        self.restarts = restarts
        self.problem: Problem | None = None
        self.idle_since = time.monotonic()
        self.ready_since = self.idle_since
        self.holds: Holding | None = None
        """What it has, or will have, of the machine's memory."""
        self.waits_for: tuple[str, ...] = ()
        """Models that hold the memory it needs and will leave."""
        self.trial = ""
        """The device that it is to try, while another one serves; it is to run nowhere else."""
        self.leaves: tuple[str, ...] = ()
        """Devices that failed under its last process: the next one is on others."""
        self.outgoing = False
        """Another one is to take its place; it serves until that one can."""
        self.unhurried = False
        """It drains for somebody else: what it answers is finished, however long that takes."""
        self.gone = asyncio.Event()
        """Set when it is STOPPED and nothing of its processes is left."""
        self._hive = hive
        self._timing = hive.settings.timing
        self._record = restart.Record()
        self._blame: RbeeError | None = None
        self._retry_at = 0.0
        self._limit: asyncio.TimerHandle | None = None
        self._next: asyncio.Handle | None = None
        self._watch: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._admitting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    @property
    def state(self) -> State:
        return self.life.state

    @property
    def lasting_problem(self) -> Problem | None:
        """Why it is not started again by itself; None if it runs or will be tried again."""
        given_up = self.state is State.QUARANTINED or self.state is State.FAILED
        return self.problem if given_up and not self._retry_at else None

    @property
    def retry_in_s(self) -> float:
        """Until the next start; 0 if none is planned."""
        return max(0.0, self._retry_at - time.monotonic()) if self._retry_at else 0.0

    # --- beginnings -------------------------------------------------------------------------

    def start(self) -> None:
        """Start the first process."""
        self._spawn()
        self._hive.changed(self)

    def adopt(self, run: WorkerRun, within_s: float) -> None:
        """Take back a process of an earlier hive, if it dials in time."""
        self._take(run)
        self.holds = Holding(run.spec.path, run.claims)
        self.answers = 1
        self._set_limit(within_s, "adoption")

    # --- what is told to it -----------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """An event of its life; effects follow at once."""
        before = self.state
        effects = self.life.tell(event)
        if self.state is not before:
            self._left(before)
        for effect in effects:
            self._effects[effect](self)
        self._hive.changed(self)

    def heard(self, message: FromWorker) -> None:
        """A line from its process."""
        run = self.run
        if run is None:
            return
        if isinstance(message, WorkerHello):
            self.tell(Event.HELLO)
        elif isinstance(message, Loading):
            run.progress = max(run.progress, min(1.0, message.fraction))
            self.tell(Event.PROGRESS)
        elif isinstance(message, Listening):
            self._heard_listening(run, message)
        elif isinstance(message, LoadFailed):
            run.said = message.problem

    def _heard_listening(self, run: WorkerRun, said: Listening) -> None:
        """It becomes ready once its self-test is judged; said again, it is as ready as it was."""
        if run.listening is not None:
            self.tell(Event.LISTENING)
        elif self._admitting is None or self._admitting.done():
            self._admitting = self._task(self._admit(run, said))

    def heard_busy(self, count: int) -> None:
        """How many answers the queen has running on it."""
        self.busy = max(0, count)
        self.tell(Event.WORK_BEGAN if self.busy else Event.WORK_ENDED)

    def suspected(self, problem: Problem) -> None:
        """The queen saw it hang."""
        self._blame = from_problem(problem)
        self.tell(Event.HUNG)

    def mismatched(self, version: str) -> None:
        """Its process is of another rbee: the installation changed under this hive."""
        self._blame = death.mismatched(version)
        self.tell(Event.HUNG)

    def wanted_afresh(self) -> None:
        """Forget what is held against it, and start it now if it does not run."""
        self._record = restart.Record()
        self.tell(Event.WANTED)

    # --- effects ----------------------------------------------------------------------------

    def _spawn(self) -> None:
        if self.id:
            self.restarts += 1
            self._hive.replaced(self, self.id, self.problem)
        self.id = self._hive.next_worker_id()
        self.problem = None
        self.leaves = ()
        self._blame = None
        self.busy = 0
        old, self.run = self.run, None
        self._starting = self._task(self._start_process(self.id, old))

    def _extend(self) -> None:
        self._set_limit(self._timing.load_stall_s, "load")

    def _stop(self) -> None:
        if self.run is not None:
            self._task(self.run.stop(self._timing.term_s))
        elif self._starting is not None:
            self._starting.cancel()
            self._next = self._loop.call_soon(self.tell, Event.REFUSED)

    def _kill(self) -> None:
        if self.run is not None:
            self._task(self.run.kill())

    def _judge(self) -> None:
        fall = self._hive.fall(self, self._cause())
        problem, self.leaves = fall.problem, fall.leaves
        ready = self.run is not None and self.run.was_ready
        timing = self._timing
        verdict = restart.judge(
            restart.served(self._record) if self.answers else self._record,
            problem.code,
            was_ready=ready,
            now=time.monotonic(),
            first_s=timing.restart_first_s,
            cap_s=timing.restart_cap_s,
            moves=bool(self.leaves),
        )
        self.answers = 0
        self.problem = problem
        if isinstance(verdict, restart.Again):
            # Many that die at once do not all load at once.
            verdict = replace(verdict, after_s=max(verdict.after_s, self._hive.restart_pause_s()))
            self._record = verdict.record
            self._retry_at = time.monotonic() + verdict.after_s
            self._next = self._loop.call_later(verdict.after_s, self.tell, Event.RETRY)
        elif isinstance(verdict, restart.Quarantine):
            self.problem = death.quarantined(self.wish, verdict, problem)
            self._next = self._loop.call_soon(self.tell, Event.QUARANTINE)
        # The state first, then what follows from it.
        self._hive.changed(self)
        self._hive.died(self, fall, verdict)

    def _clean(self) -> None:
        self.holds = None
        if self.run is not None:
            self._task(self._reap(self.run))

    def _finish(self) -> None:
        self._task(self._end())

    _effects: ClassVar[dict[Effect, Callable[[WorkerOwner], None]]] = {
        Effect.SPAWN: _spawn,
        Effect.EXTEND: _extend,
        Effect.STOP: _stop,
        Effect.KILL: _kill,
        Effect.JUDGE: _judge,
        Effect.CLEAN: _clean,
        Effect.FINISH: _finish,
    }

    # --- what takes time --------------------------------------------------------------------

    async def _start_process(self, worker_id: str, old: WorkerRun | None) -> None:
        try:
            if old is not None:
                await self._reap(old)
            plans = await self._hive.prepare(self.wish)
            plan = await self._hive.make_room(self, plans)
            run = start_run(self._hive, self.wish, plan, worker_id, self.restarts)
        except RbeeError as error:
            self._refuse(error)
            return
        except Exception as error:
            self._refuse(RbeeError("INTERNAL", problem=repr(error)))
            raise
        self._take(run)
        self._set_limit(self._timing.worker_start_s, "start")
        self._hive.changed(self)

    def _refuse(self, error: RbeeError) -> None:
        self._blame = error
        self.holds = None
        self.tell(Event.REFUSED)

    def _take(self, run: WorkerRun) -> None:
        self.run = run
        self.id = run.id
        self._task(self._await_end(run))

    async def _admit(self, run: WorkerRun, said: Listening) -> None:
        refusal = await self._hive.judge(self.wish, run, said, lambda: self.tell(Event.PROGRESS))
        if self.run is not run or run.child.ended is not None:
            return
        if refusal is None:
            self.trial = ""
            run.heard_listening(said)
            self.tell(Event.LISTENING)
        elif self.state in (State.STARTING, State.LOADING):
            self._blame = refusal
            self.tell(Event.UNFIT)

    async def _await_end(self, run: WorkerRun) -> None:
        await run.child.wait()
        await run.last_words()
        if self.run is run:
            self.tell(Event.EXITED)

    async def _reap(self, run: WorkerRun) -> None:
        for leak in [*await run.clean(self._hive.kept_logs), *await self._hive.held(run)]:
            self._hive.leaked(self, leak)

    async def _end(self) -> None:
        if self.run is not None:
            await self._reap(self.run)
        self.gone.set()
        self._hive.finished(self)

    async def _watch_health(self) -> None:
        """While nobody is served; a busy one is left alone."""

        def port() -> int:
            return self.run.listening.port if self.run and self.run.listening else 0

        silent_s = await until_deaf(port, self._hive.probe, self._timing)
        self._blame = death.hung(self.wish, self.id, silent_s)
        self.tell(Event.HUNG)

    # --- limits and causes ------------------------------------------------------------------

    def _left(self, before: State) -> None:
        """A new state: the limits of the one before end, its own begin."""
        for handle in (self._limit, self._next):
            if handle is not None:
                handle.cancel()
        self._limit = self._next = None
        self._retry_at = 0.0
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._admitting is not asyncio.current_task() and self.state not in _ADMITTED:
            self._stop_admitting()
        if self.state is State.READY:
            if before is State.BUSY:
                self.answers += 1
            self.idle_since = time.monotonic()
            if before in (State.STARTING, State.LOADING):
                self.ready_since = self.idle_since
            self._watch = self._task(self._watch_health())
        elif self.state is State.DRAINING:
            wait_s = self._timing.drain_s if self.busy or self._hive.queen_listens() else 0.0
            if not (self.unhurried and wait_s):
                self._set_limit(wait_s, "drain")

    def _stop_admitting(self) -> None:
        """Nobody waits for the verdict any more: a file that is being hashed for it is left."""
        if self._admitting is not None:
            self._admitting.cancel()
            self._admitting = None

    def _set_limit(self, limit_s: float, phase: str) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._limit = self._loop.call_later(limit_s, self._late, phase, limit_s)

    def _late(self, phase: str, limit_s: float) -> None:
        self._blame = death.late(self.wish, self.id, phase, limit_s) or self._blame
        self.tell(Event.LATE)

    def _cause(self) -> Problem:
        """Why it ended: what we did it for, what it said itself, else what it left behind."""
        if self._blame is not None:
            blame, self._blame = self._blame, None
            return to_problem(blame.report)
        assert self.run is not None
        return death.told_or_found(self.wish, self.run)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
