"""The queen's life: listen, keep a hive, serve, drain, go."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from rbee.edge.access_log import AccessLog
from rbee.edge.config_file import load_settings
from rbee.edge.config_watch import ConfigWatch
from rbee.edge.home import Home, default_home
from rbee.edge.http_server import HttpServer
from rbee.edge.logs import Log
from rbee.edge.private_file import write_private
from rbee.edge.process_table import port_holder, start_time
from rbee.errors import RbeeError
from rbee.policy.access import may_bind
from rbee.queen.core import Core
from rbee.queen.events import Events
from rbee.queen.hive_process import HiveProcess
from rbee.queen.job_routes import go_on
from rbee.queen.jobs import Jobs
from rbee.queen.reload import Reload
from rbee.queen.route_table import ROUTES
from rbee.queen.routes import Router
from rbee.queen.upkeep import tend
from rbee.queen.wishes import Wishes
from rbee.settings import KEEP_ALWAYS, Settings
from rbee.version import VERSION
from rbee.wire import control
from rbee.wire.problem import to_problem

_COLLECTED_AFTER = (20_000, 20, 20)
"""New objects before the collector looks at them. A request makes no circles; with the usual 700 it
was looked for some twenty times a second, for a twelfth of all processor time."""


class Queen:
    """Composition of the parts; `run` returns when everything that was started has ended."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._log = Log("queen")
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()
        self._drain_s = settings.timing.drain_s
        wishes = Wishes(home.state / "wishes.json")
        self._events = Events(home.state / "events.jsonl")
        self._core = Core(settings, wishes, self._events, self._note)
        self._core.on_shut_down = self.shut_down
        self._access = AccessLog("queen", sys.stderr.buffer)
        self._core.log_request = self._access.add
        self._jobs = Jobs(self._core, home.state / "jobs.sqlite", partial(go_on, self._core))
        self._router = Router(self._core, ROUTES)
        self._server = HttpServer(
            self._router.handle, settings.bounds, settings.timing, on_error=self._http_fault
        )
        self._hive = HiveProcess(
            home,
            restart_s=settings.timing.hive_restart_s,
            restart_cap_s=settings.timing.restart_cap_s,
            on_death=self._core.hive_died,
        )

    async def run(self) -> None:
        """Serve until told to stop. Raises PORT_TAKEN or BIND_REFUSED before anything started."""
        settings, home = self._settings, self._home
        self._core.keys.load()
        if not may_bind(settings.host, keys=len(self._core.keys.records)):
            raise RbeeError("BIND_REFUSED", host=settings.host)
        port = await self._bind(settings.host, settings.port)
        self._core.url = f"http://{_in_url(settings.host)}:{port}"
        self._recall()
        self._core.attached.load(home.state / "attached.json")
        await self._jobs.open()
        await self._core.link.listen(home.control_socket)
        keeping = asyncio.create_task(self._hive.keep(self._core.met))
        tending = asyncio.create_task(tend(self._core))
        watching = asyncio.create_task(
            self._core.link.watch(
                settings.timing.hive_ping_s, settings.timing.hive_start_s, self._hive_hangs
            )
        )
        following = asyncio.create_task(
            Reload(self._core, ConfigWatch(home, settings), self._note).keep()
        )
        await self._server.listen_unix(home.admin_socket)
        self._announce()
        self._catch_signals()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTED_AFTER)
        try:
            await self._stop.wait()
            await self._drain()
        finally:
            watching.cancel()
            following.cancel()
            keeping.cancel()
            tending.cancel()
            await self._hive.end(self._settings.timing.term_s)
            await self._close()

    def shut_down(self, drain_s: float | None = None) -> None:
        """Begin to drain; said twice, it acts at once."""
        if self._stop.is_set():
            self._at_once.set()
        if drain_s is not None:
            self._drain_s = min(drain_s, self._settings.timing.drain_s)
        self._core.stopping = True
        self._stop.set()

    async def _drain(self) -> None:
        """Let running answers end; what is left ends with an error event, then the hive goes."""
        self._server.stop_accepting()
        self._hive.leave()
        self._core.lanes.fail_all(RbeeError("SHUTTING_DOWN"))
        loop = asyncio.get_running_loop()
        until = loop.time() + self._drain_s
        while self._router.running and loop.time() < until and not self._at_once.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await self._at_once.wait()
        self._router.end_all()
        self._core.link.tell(control.Leave(0.0, keep_workers=self._core.keep_workers))
        await self._server.close(self._settings.timing.end_streams_s)

    async def _close(self) -> None:
        await self._jobs.close()
        self._core.link.close()
        await self._core.attached.close()
        await self._core.client.close()
        self._events.close()
        self._core.audit.close()
        self._access.write()
        for path in (self._home.admin_socket, self._home.control_socket, self._home.queen_file):
            path.unlink(missing_ok=True)

    async def _bind(self, host: str, port: int) -> int:
        try:
            return await self._server.listen_tcp(host, port)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                holder = port_holder(port)
                raise RbeeError("PORT_TAKEN", host=host, port=port, holder=holder) from exc
            problem = f"it cannot listen on {host}:{port}: {exc.strerror}"
            raise RbeeError("START_FAILED", problem=problem) from exc

    def _recall(self) -> None:
        """Wishes of earlier lives, and of the TOML."""
        self._events.load()
        self._core.recall()
        for served in self._core.models.all(()):
            if served.how.keep_alive_s == KEEP_ALWAYS:
                self._core.wishes.put(served.wish("chat"), lasting=False)

    def _announce(self) -> None:
        """Tell keepers where we are; the file appears when everything listens."""
        said = {
            "pid": os.getpid(),
            "start_time": start_time(os.getpid()),
            "version": VERSION,
            "url": self._core.url,
        }
        write_private(self._home.queen_file, msgspec.json.encode(said))

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self._signalled, one)

    def _signalled(self, number: signal.Signals) -> None:
        self._core.audit.by(number.name, "shutdown", "", "ok")
        self.shut_down()

    def _hive_hangs(self) -> None:
        self._log.warning("the hive hangs and is ended", pid=self._hive.pid)
        self._hive.kill_hung()

    def _http_fault(self, error: BaseException) -> None:
        self._log.error("http", exc_info=error)

    def _note(self, event: str, **facts: object) -> None:
        error = facts.pop("error", None)
        if isinstance(error, BaseException):
            self._log.error(event, exc_info=error, **facts)
        else:
            self._log.info(event, **facts)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _only_one(home: Home) -> int:
    """A lock that dies with us: a second queen of this home is told so. Returns the descriptor."""
    import fcntl

    descriptor = os.open(home.run / "queen.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        problem = "another rbee runs in this RBEE_HOME"
        raise RbeeError("START_FAILED", problem=problem) from exc
    return descriptor


async def _live(home: Home, settings: Settings) -> None:
    await Queen(home, settings).run()


def main() -> int:
    """Run a queen for RBEE_HOME. A start that fails says why on its last line, as JSON."""
    home = Home(Path(default_home()))
    try:
        home.prepare()
        settings = load_settings(home)
        lock = _only_one(home)
        try:
            _run(home, settings)
        finally:
            os.close(lock)
    except RbeeError as error:
        line = msgspec.json.encode({"problem": to_problem(error.report)})
        sys.stderr.buffer.write(line + b"\n")
        sys.stderr.buffer.flush()
        return error.report.exit
    return 0


def _run(home: Home, settings: Settings) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(_live(home, settings))
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_live(home, settings))
