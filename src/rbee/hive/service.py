"""The hive: everything that looks after this machine's workers, put together.

The queen's word comes in by `QueenLink`, workers' words by `LifelineServer`; `Roster` keeps what is
wished, an owner each keeps a worker. All of it lives on one loop; hashing, downloading and asking
engines happen in children and threads.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rbee.edge import machine_memory
from rbee.edge.config_watch import ConfigWatch
from rbee.edge.disk import has_room, sizes_bytes
from rbee.edge.home import Home
from rbee.edge.http_client import ConnectionLost, Endpoint, HttpClient
from rbee.edge.logs import Log
from rbee.edge.process_table import usable_cores
from rbee.errors import RbeeError
from rbee.hive import device_falls, orphans
from rbee.hive.calls import Calls
from rbee.hive.comeback import Comeback
from rbee.hive.commands import Commands
from rbee.hive.device_falls import Fall
from rbee.hive.device_links import ENGINES_OWN_CHOICE, needs_engine_facts
from rbee.hive.device_room import DeviceRoom
from rbee.hive.engine_room import EngineRoom
from rbee.hive.lifeline_server import LifelineServer
from rbee.hive.model_room import ModelRoom
from rbee.hive.ports import Ports
from rbee.hive.queen_link import QueenLink
from rbee.hive.reports import Reports
from rbee.hive.resources import Resources
from rbee.hive.room import Room
from rbee.hive.roster import Roster
from rbee.hive.selftest_judge import Judge
from rbee.hive.store_calls import StoreCalls
from rbee.hive.upkeep import TICK_S, Upkeep
from rbee.hive.wish_plan import Plan, plans
from rbee.hive.worker_ids import WorkerIds
from rbee.hive.worker_owner import WorkerOwner
from rbee.hive.worker_run import Leak, WorkerRun
from rbee.hive.worker_start import FOLDER_BYTES
from rbee.models.goldens import Goldens
from rbee.policy import restart
from rbee.policy.worker_life import State
from rbee.settings import Settings
from rbee.version import CONTROL_PROTOCOL, VERSION
from rbee.wire import control
from rbee.wire.control import ModelWish, Problem
from rbee.wire.lifeline import Listening

EXIT_VERSION = 3
"""Exit code of a hive that the queen refused: another version."""

_LIFELINE_LINE_BYTES = 1 << 20


class Hive:
    """One machine's hive; `run` is its whole life. Also the surroundings of its owners."""

    def __init__(self, home: Home, settings: Settings, log: Log) -> None:
        self.hive_id = platform.node() or "here"
        self.config = ConfigWatch(home, settings)
        self.workers = home.workers
        self.kept_logs = home.logs / "workers"
        self.log_file = home.logs / "hive.log"
        self.lifeline = home.run / "hive.sock"
        self._log = log
        self._cores = usable_cores()
        self._ids = WorkerIds(home.state / "worker_number", (self.workers, self.kept_logs))
        self._client = HttpClient(settings.timing.connect_s)
        self.link = QueenLink(
            home.control_socket, settings, hello=self._hello, hear=self._hear, log=log
        )
        self.reports = Reports(self.hive_id, self.link.say, log)
        self.calls = Calls(self.link.say, log)
        self.store = StoreCalls(
            self.calls, lambda: self.models, lambda: self.roster, self.link.say, log
        )
        self.models = ModelRoom(home, settings, self.store)
        self.selftests = Judge(
            Goldens(Path(settings.models_dir or home.models)),
            self.models,
            self.reports.told,
            log,
        )
        self.engine = EngineRoom(home, lambda: self.settings, log, self.engine_changed)
        self.roster = Roster(self._make_owner, self.reports.unservable, self._fingerprint)
        self.devices = DeviceRoom(self.engine, lambda: self.settings.timing)
        self.room = Room(
            lambda: self.settings, self.roster.owners, self.roster.give_way, self.devices, log
        )
        self.comeback = Comeback(self)
        self.resources = Resources(
            Path(settings.models_dir or home.models),
            lambda: self.settings.limits.disk_reserve_bytes,
            self.link.say,
        )
        self._commands = Commands(self)
        self._upkeep = Upkeep(self)
        self._lifelines = LifelineServer(self.roster.find, log)
        self._restart_due_at = 0.0
        self._ports = Ports(
            lambda: self.settings.worker_ports,
            lambda: {owner.run.spec.port for owner in self.roster.owners() if owner.run},
        )
        self._leaving: asyncio.Task[None] | None = None
        self._left = asyncio.Event()

    @property
    def settings(self) -> Settings:
        """What holds now: rbee.toml may change at any time."""
        return self.config.now

    # --- life -------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until told to leave; the exit code."""
        await self.models.load()
        self._adopt()
        self.store.tidy()
        await self._lifelines.listen(self.lifeline, _LIFELINE_LINE_BYTES)
        ticking = asyncio.create_task(self._tick())
        linking = asyncio.create_task(self._link())
        leaving = asyncio.create_task(self._left.wait())
        try:
            await asyncio.wait((linking, leaving, ticking), return_when=asyncio.FIRST_COMPLETED)
            if self.link.refused is not None:
                self._log.error("the queen refused this hive", problem=self.link.refused.message)
                return EXIT_VERSION
            if not self._left.is_set():
                self._log.warning("no queen for too long: leaving")
                self.leave(self.settings.timing.drain_s)
                await leaving
            return 0
        finally:
            await self._close(ticking, linking, leaving)

    def leave(self, drain_s: float) -> None:
        """Drain all workers within `drain_s`, then end; said twice: end at once."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave(drain_s))
        else:
            self.roster.stop_now()

    def hand_over(self) -> None:
        """End, and let the workers be: a newer rbee takes them back before they miss us."""
        self._left.set()

    async def _leave(self, drain_s: float) -> None:
        await self.calls.cancel_all()
        self.roster.leave()
        owners = tuple(self.roster.owners())
        all_gone = asyncio.gather(*(owner.gone.wait() for owner in owners))
        try:
            async with asyncio.timeout(drain_s):
                await asyncio.shield(all_gone)
        except TimeoutError:
            self.roster.stop_now()
            await all_gone
        await self.link.flush()
        self._left.set()

    async def _close(self, *tasks: asyncio.Task[object]) -> None:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                self._log.error("a part of the hive failed", problem=repr(result))
        self._lifelines.close()
        self.lifeline.unlink(missing_ok=True)
        await self._client.close()

    def _adopt(self) -> None:
        for run, birth in orphans.find_orphans(self.workers, self.kept_logs):
            owner = self._make_owner(birth.wish, birth.restarts)
            owner.adopt(run, orphans.ADOPT_WITHIN_S)
            self.roster.adopt(owner)
            self._log.info("found a worker of an earlier hive", worker=run.id, pid=run.child.pid)

    async def _link(self) -> None:
        """Workers of an earlier hive come first, so that the queen never sees them as starting."""
        loop = asyncio.get_running_loop()
        until = loop.time() + orphans.ADOPT_WITHIN_S
        while loop.time() < until and any(
            owner.state in (State.STARTING, State.LOADING) for owner in self.roster.owners()
        ):
            await asyncio.sleep(0.02)
        await self.link.run()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            with self._mistakes_logged():
                self._upkeep.tick()

    @contextmanager
    def _mistakes_logged(self) -> Iterator[None]:
        """A mistake of ours about one worker must not end the hive, and with it all the others."""
        try:
            yield
        except Exception as error:
            self._log.error("a mistake of the hive", problem=repr(error))

    # --- the queen's words ------------------------------------------------------------------

    def _hear(self, message: control.ToHive) -> None:
        with self._mistakes_logged():
            self._commands.obey(message)

    def _hello(self) -> control.Hello:
        return control.Hello(
            version=VERSION,
            protocol=CONTROL_PROTOCOL,
            hive=self.hive_id,
            pid=os.getpid(),
            machine=platform.node() or "here",
            cores=self._cores,
            memory_bytes=machine_memory.look().total_bytes,
            engine=self.engine.engine,
            devices=self.devices.views(),
            workers=tuple(self.reports.view(owner) for owner in self.roster.owners()),
            models=self.models.views,
        )

    # --- surroundings of an owner -----------------------------------------------------------

    def next_port(self) -> int:
        """For the next process; 0: any. Raises PORT_TAKEN."""
        return self._ports.next()

    def next_worker_id(self) -> str:
        return self._ids.next()

    async def prepare(self, wish: ModelWish) -> tuple[Plan, ...]:
        """A wish made concrete, in all the ways in which it may run. Raises why it cannot."""
        if needs_engine_facts(wish, self.engine.engine):
            await self.engine.ask(again=bool(self.engine.engine.problem))
        engine = self.engine.require()
        await self.devices.look_before_load()
        stored = await self.models.ready(wish.ref)
        goldens = await self.selftests.goldens(stored.digest)
        beside_bytes = await asyncio.to_thread(sizes_bytes, wish.args)
        try:
            return plans(
                wish,
                stored,
                engine,
                self.settings,
                self._cores,
                total_memory_bytes=machine_memory.look().total_bytes,
                beside_bytes=beside_bytes,
                goldens=goldens,
                machine=self.devices.machine(wish),
            )
        except RbeeError as error:
            self.comeback.refused(wish, error)
            raise

    async def make_room(self, owner: WorkerOwner, plans: tuple[Plan, ...]) -> Plan:
        """Returns when its memory is there. Raises MODEL_TOO_LARGE, DEVICE_UNAVAILABLE."""
        plans = self.comeback.trials(owner, plans)
        chosen = await self.room.make(owner, plans, lambda: self.changed(owner))
        self.comeback.placed(owner, chosen)
        return chosen

    def fall(self, owner: WorkerOwner, problem: Problem) -> Fall:
        """What an end with this cause says against its devices."""
        return device_falls.judge(owner.wish, owner.run, problem, self.devices)

    def restart_pause_s(self) -> float:
        """How long the next unasked start must wait, for all that start again together."""
        pause_s, self._restart_due_at = restart.spaced(
            self._restart_due_at,
            time.monotonic(),
            burst=restart.STORM_BURST,
            every_s=self.settings.timing.restart_every_s,
        )
        return pause_s

    async def judge(
        self, wish: ModelWish, run: WorkerRun, said: Listening, moved: Callable[[], None]
    ) -> RbeeError | None:
        """Why a worker that has loaded may not serve; None: it may."""
        refusal = self.comeback.used(wish, run, said)
        if refusal is None:
            refusal = await self.selftests.judge(wish, run.spec, said, moved)
        if refusal is None:
            self.comeback.proved(wish, run.id, said.devices)
        return refusal

    async def probe(self, port: int, within_s: float) -> bool:
        """Whether anything at all answers at this port in time."""
        try:
            async with asyncio.timeout(within_s):
                response = await self._client.request(
                    Endpoint("127.0.0.1", port), "GET", "/health", ()
                )
                await response.read(1 << 16)
        except (TimeoutError, ConnectionLost, RbeeError):
            return False
        return True

    def changed(self, owner: WorkerOwner) -> None:
        self.reports.changed(owner)
        if owner.state is State.READY:
            self.roster.settle()

    def replaced(self, owner: WorkerOwner, old_id: str, problem: Problem | None) -> None:
        self.reports.gone(owner, old_id, problem)

    def died(self, owner: WorkerOwner, fall: Fall, verdict: restart.Verdict) -> None:
        if owner.trial:
            self.comeback.failed(owner, fall.problem)
            return
        self.reports.died(owner, fall, verdict)
        if not isinstance(verdict, restart.Again):
            self.roster.failed_lastingly(owner, owner.problem or fall.problem)

    async def held(self, run: WorkerRun) -> list[Leak]:
        """Memory of devices that drivers say a dead process still has."""
        if run.spec.device in ENGINES_OWN_CHOICE:
            return []
        pids = frozenset({run.child.pid, run.pid})
        return [Leak(f"memory of {one}") for one in await self.devices.still_held(pids)]

    def leaked(self, owner: WorkerOwner, leak: Leak) -> None:
        self.reports.leaked(owner, leak)

    def finished(self, owner: WorkerOwner) -> None:
        self.roster.finished(owner)
        self.reports.gone(owner, owner.id, owner.problem)
        self.store.tidy()

    def queen_listens(self) -> bool:
        return self.link.connected

    # --- news from our own rooms ------------------------------------------------------------

    def _make_owner(self, wish: ModelWish, restarts: int) -> WorkerOwner:
        return WorkerOwner(wish, self, restarts=restarts)

    def _fingerprint(self, wish: ModelWish) -> object:
        return (
            self.models.identity(wish.ref),
            self.engine.fingerprint(),
            self.room.fits_now(wish),
            self.devices.barred(wish),
            has_room(self.workers, FOLDER_BYTES),
        )

    def engine_changed(self) -> None:
        self.link.say(control.EngineChanged(self.engine.engine, self.devices.views()))
