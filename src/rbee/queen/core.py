"""What all requests share: roster, lanes, wishes, the link to the hive. One owner of each.

`Core` turns what the hive says into what waiting requests get, and what requests need into what
the hive is told. It is synchronous.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rbee.edge.home import Home
from rbee.edge.http_client import HttpClient
from rbee.edge.key_file import KeyFile
from rbee.errors import RbeeError, Retry
from rbee.policy.access import is_loopback
from rbee.policy.affinity import Warmth
from rbee.policy.keys import needed
from rbee.policy.pressure import Memory
from rbee.policy.retry_budget import RetryBudget
from rbee.queen.allowance import Allowances
from rbee.queen.attached import AttachedWorkers
from rbee.queen.audit import Audit
from rbee.queen.busy_news import BusyNews
from rbee.queen.counters import Counters
from rbee.queen.deaths import Deaths
from rbee.queen.events import Events
from rbee.queen.hive_link import HiveLink
from rbee.queen.lanes import Lanes
from rbee.queen.lookout import Lookout
from rbee.queen.poison import Poison
from rbee.queen.roster import SERVING, LaneKey, Roster
from rbee.queen.served_models import Served, ServedModels
from rbee.queen.speeds import PromptSpeeds
from rbee.queen.wishes import Wishes
from rbee.queen.worker_health import WorkerHealth
from rbee.settings import Settings
from rbee.wire import control
from rbee.wire.problem import from_problem, to_problem

if TYPE_CHECKING:
    from rbee.queen.jobs import Jobs

_LOOK_S = 0.1


class Core:
    """The queen's memory and its reactions."""

    jobs: Jobs
    """Set by their owner as soon as there is one."""

    def __init__(
        self, settings: Settings, wishes: Wishes, events: Events, log: Callable[..., None]
    ) -> None:
        self.settings = settings
        self.clock = asyncio.get_running_loop().time
        self.client = HttpClient(settings.timing.connect_s, gone_s=settings.timing.attached_gone_s)
        self.lookout = Lookout()
        self.roster = Roster()
        self.models = ServedModels(settings)
        self.wishes = wishes
        self.events = events
        self.counters = Counters()
        self.keys = KeyFile(Home(Path(settings.home)).keys_file)
        self.audit = Audit(Home(Path(settings.home)), log)
        self.allowances = Allowances()
        self.deaths = Deaths(self.clock)
        self.poison = Poison(self.clock)
        self.budget = RetryBudget(settings.bounds.retries_per_minute)
        self.speeds = PromptSpeeds()
        self.met = asyncio.Event()
        self.stopping = False
        self.keep_workers = False
        """A newer rbee takes over: the hive ends alone."""
        self.url = ""
        self.on_shut_down: Callable[[float | None], None] = lambda drain_s: None
        self.log_request: Callable[[str, str, str, str, str, str], None] = lambda *said: None
        """Of a request that has ended: job, its client's own id, model, path, code and caller."""
        self.warmth = Warmth()
        self.health = WorkerHealth(
            self.roster,
            settings.timing,
            clock=self.clock,
            warmth=self.warmth,
            tell=self._tell_of_worker,
        )
        self.link = HiveLink(
            on_meet=self._meet,
            on_message=self._hear,
            on_mistake=self.mistake,
            on_lost=self._lose_hive,
            limit_bytes=settings.bounds.control_message_bytes,
        )
        self.busy_news = BusyNews(self.roster, self.link.tell)
        self.lanes = Lanes(
            self.roster,
            self.health,
            self.warmth,
            queue_limit=settings.limits.queue,
            clock=self.clock,
            tell_busy=self.busy_news.changed,
        )
        self.attached = AttachedWorkers(self, self._hear)
        self._log = log
        self._hive_away_since = self.clock()
        self._pulls: dict[str, asyncio.Task[None]] = {}
        self._changed: set[asyncio.Event] = set()

    @property
    def key_needed(self) -> bool:
        """Whether a request over the network address must bring a key."""
        return needed(len(self.keys.records), loopback=is_loopback(self.settings.host))

    # --- requests ----------------------------------------------------------------------------

    def ensure(self, served: Served, lane: LaneKey, *, ours: bool = False) -> None:
        """Have the lane served, now or soon; `ours`: by a worker that is not attached. Raises what
        is known to stand in the way."""
        problem = self.lanes.lane(lane).problem
        if problem is not None:
            raise RbeeError.from_report(problem)
        if served.stored is not None and not ours and len(self.roster.board(lane)):
            return
        self.check_hive(lane)
        if served.stored is None:
            self._ensure_unstored(served, lane)
        elif not self.roster.has_hope(lane, ours=ours):
            self._want(served.wish(lane[1]))

    def check_hive(self, lane: LaneKey) -> None:
        """Raises why nobody can load this lane: no hive for long, or one of another version."""
        if not len(self.roster.board(lane)):
            self.check_hive_is_there()

    async def settle(self) -> None:
        """Return once a hive has said what is stored, or none is to be expected any more. The
        journal of jobs is open before a hive can be met. Raises SHUTTING_DOWN."""
        while not self.met.is_set() and self.link.mismatch is None:
            if self.stopping:
                raise RbeeError("SHUTTING_DOWN")
            if self.clock() - self._hive_away_since > self.settings.timing.worker_start_s:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self.met.wait()

    def check_hive_is_there(self) -> None:
        """Raises why no hive is there; one that is being started again is waited for."""
        if self.roster.hive_connected:
            return
        if self.link.mismatch is not None:
            raise self.link.mismatch
        away_until = self.hive_given_up_at
        if away_until is not None and self.clock() >= away_until:
            raise RbeeError("HIVE_LOST")

    @property
    def hive_given_up_at(self) -> float | None:
        """When nobody waits any longer for the hive that is away; None: it is here."""
        if self.roster.hive_connected:
            return None
        return self._hive_away_since + self.settings.timing.worker_start_s

    def feel(self, memory: Memory) -> None:
        """How short memory is, looked at every few seconds: lines are cut and grow by it, and by
        the heat of GPUs that the hive tells of."""
        memory = replace(memory, hot=self.roster.heat)
        if self.lanes.press(memory):
            code = "MEMORY_SHORT" if memory.short else "GPU_TOO_HOT"
            done = f"at most {self.lanes.queue_limit} requests may wait for a model for now"
            self._happened(code, f"{memory.strain} (this machine)", done)

    def suspect(self, worker: str, error: RbeeError) -> None:
        """A worker hangs: the hive is to end it, and nobody else is sent there meanwhile."""
        self.link.tell(control.Suspect(worker, to_problem(error.report)))
        self.roster.drop(worker)

    def note(self, event: str, **facts: str) -> None:
        """A line in the log."""
        self._log(event, **facts)

    def shut_down(self, drain_s: float | None) -> None:
        self.on_shut_down(drain_s)

    def mistake(self, exc: Exception, job: str) -> None:
        """A fault of ours: into the log whole, to the client as INTERNAL."""
        self._log("mistake", job=job, error=exc)

    # --- wishes ------------------------------------------------------------------------------

    def recall(self) -> None:
        """What earlier lives were told to serve, as far as it can be read."""
        damage = self.wishes.load()
        if damage is not None:
            self.tell_of_damage(damage)
        for wish in self.wishes.lasting():
            self.models.recall(wish)

    def tell_of_damage(self, damage: RbeeError) -> None:
        """A file of wishes could not be read; a person has to say them again."""
        done = f"rbee runs without it; it is kept as {damage.facts['file']}.damaged"
        self._happened(damage.code, damage.report.message, done, "open")

    def serve(self, wish: control.ModelWish) -> None:
        """A wish of an administrator, lasting unless it may unload; clears remembered failures, and
        brings back what rests."""
        self.resume()
        self.wishes.put(wish, lasting=wish.keep_alive_s < 0)
        self.lanes.lane((wish.name, wish.mode)).problem = None
        self.poison.forget(wish.name)
        self.link.tell(control.Want(wish, fresh=True))

    def want_always(self, served: Served) -> None:
        """A block of the TOML says that it stays loaded; fetched first if it is not here."""
        if served.stored is None:
            self._pull_declared(served, (served.name, "chat"))
        else:
            wish = served.wish("chat")
            self.wishes.put(wish, lasting=False)
            self.link.tell(control.Want(wish))

    def rest(self) -> None:
        """Everything unloads; what was to stay loaded comes back with `resume`."""
        models = {wish.name for wish in self.wishes.all()}
        self.wishes.rest()
        for name in models | {worker.model for worker in self.roster.workers.values()}:
            self.link.tell(control.Unwant(name))

    def resume(self) -> None:
        """What rests is loaded again."""
        for wish in self.wishes.resume():
            self.link.tell(control.Want(wish))

    def unwant(self, model: str) -> None:
        try:
            self.wishes.drop(model)
        finally:
            # A full disk keeps nobody from unloading a model.
            self.models.overrides.pop(model, None)
            self.link.tell(control.Unwant(model))

    def watch(self) -> asyncio.Event:
        """An event that is set at every change of workers; give it back with `unwatch`."""
        event = asyncio.Event()
        self._changed.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        self._changed.discard(event)

    def _want(self, wish: control.ModelWish) -> None:
        """Somebody asked for it: that lasts no longer than this queen, whatever its keep_alive."""
        self.wishes.put(wish, lasting=False)
        self.link.tell(control.Want(wish))

    def _pull_declared(self, served: Served, lane: LaneKey) -> None:
        if served.ref not in self._pulls:
            task = asyncio.create_task(self._fetch(served, lane))
            self._pulls[served.ref] = task
            task.add_done_callback(lambda _: self._pulls.pop(served.ref, None))

    async def _fetch(self, served: Served, lane: LaneKey) -> None:
        """Declared in the TOML is leave to fetch it; then it is loaded for those who wait."""
        try:
            await self.link.call(lambda id_: control.Pull(id_, served.ref))
            self._want(self.models.find(served.name, self.roster.models).wish(lane[1]))
        except RbeeError as error:
            self.lanes.fail(lane, error)

    def _ensure_unstored(self, served: Served, lane: LaneKey) -> None:
        """An attached server has it, or leave was given to fetch it."""
        failed = self.attached.of(served.name)
        if failed and self.roster.has_hope(lane):
            return
        if served.declared:
            self._pull_declared(served, lane)
        elif failed and failed[0].problem is not None:
            raise from_problem(failed[0].problem)

    # --- the hive ----------------------------------------------------------------------------

    def _meet(self, hello: control.Hello) -> tuple[control.ModelWish, ...]:
        self.roster.meet(hello)
        for worker in hello.workers:
            self.health.learn(worker)
            self._keep_found(worker)
        self.met.set()
        self._pump_all()
        # After the Welcome the hive counts from nothing: what runs is told to it again.
        asyncio.get_running_loop().call_soon(self.busy_news.tell_all)
        return self.wishes.all()

    def _keep_found(self, worker: control.WorkerView) -> None:
        """A worker from before this queen: its model stays wanted as it would be on demand."""
        if self.wishes.has((worker.model, worker.mode)):
            return
        with suppress(RbeeError):
            served = self.models.find(worker.model, self.roster.models)
            self.wishes.put(served.wish(worker.mode), lasting=False)

    def _hear(self, message: control.FromHive) -> None:
        match message:
            case control.WorkerChanged(worker=worker):
                self._worker_changed(worker)
            case control.WorkerGone():
                self._worker_gone(message)
            case control.ModelsChanged(models=models):
                self.roster.models = models
                self.lanes.forget_problems()
            case control.EngineChanged(engine=engine, devices=devices):
                self.roster.learn_engine(engine, devices)
            case control.Unservable(model=model, mode=mode, problem=problem):
                self._unservable((model, mode), from_problem(problem))
            case control.Happened():
                self.events.add(message)
                self.counters.event(message.code)
            case _:
                return
        for event in self._changed:
            event.set()

    def _worker_changed(self, worker: control.WorkerView) -> None:
        self.roster.put(worker)
        self.health.learn(worker)
        self.busy_news.worker_changed(worker.id, worker.state)
        if worker.state in SERVING:
            self.deaths.forget(worker.id)
        elif worker.problem is not None:
            self.deaths.remember(worker.id, worker.problem)
        self.lanes.pump((worker.model, worker.mode))

    def _worker_gone(self, gone: control.WorkerGone) -> None:
        self.roster.drop(gone.id, gone=True)
        self.health.forget(gone.id)
        self.speeds.forget(gone.id)
        if gone.problem is not None:
            self.deaths.remember(gone.id, gone.problem)
        lane = (gone.model, gone.mode)
        self.lanes.pump(lane)
        if gone.problem is None and not self.roster.has_hope(lane):
            self.wishes.forget_passing(lane)
            if self.lanes.lane(lane).waiting:
                # Unloaded as idle in the moment in which somebody asked for it.
                self._want_again(lane)

    def _want_again(self, lane: LaneKey) -> None:
        try:
            self._want(self.models.find(lane[0], self.roster.models).wish(lane[1]))
        except RbeeError as error:
            self.lanes.fail(lane, error)

    def _unservable(self, lane: LaneKey, error: RbeeError) -> None:
        self.lanes.fail(lane, error)
        self.wishes.forget_passing(lane)
        if error.report.retry is not Retry.NEVER and error.code != "WORKER_QUARANTINED":
            self.lanes.lane(lane).problem = None

    def _lose_hive(self) -> None:
        self.roster.hive_connected = False
        self._hive_away_since = self.clock()
        for event in self._changed:
            event.set()

    def hive_died(self, returncode: int) -> None:
        """The hive ended unasked and is being started again."""
        if self.stopping:
            return
        self._happened(
            "HIVE_LOST",
            f"the part of rbee that looks after this machine ended (code {returncode})",
            "started again; loaded models went on serving",
        )

    def _tell_of_worker(self, code: str, worker: control.WorkerView, what: str, done: str) -> None:
        self._happened(code, what, done, model=worker.model, worker=worker.id)

    def _happened(self, code: str, what: str, done: str, outcome: str = "ok", **about: str) -> None:
        """A fault that the queen saw and dealt with."""
        happened = control.Happened(time.time(), code, what, done, outcome, **about)
        self.events.add(happened)
        self.counters.event(code)

    def _pump_all(self) -> None:
        for worker in list(self.roster.workers.values()):
            self.lanes.pump((worker.model, worker.mode))
