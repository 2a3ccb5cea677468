"""Servers that somebody else runs, as workers of the pool: wished, looked at, shown.

The queen owns them, not a hive: nothing of theirs is started, stopped or read but their HTTP. What
becomes of them is told to the core in the words in which a hive tells of its workers. A wish stands
in `state/attached.json` and names where the key is, never the key. Whether a server is well is
asked every few seconds (`policy.attached_life`), and at once when an answer from it broke off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from rbee.edge.kept_wishes import read_wishes
from rbee.edge.private_file import write_private
from rbee.errors import RbeeError
from rbee.policy import attached_life
from rbee.policy.attached_life import SHOWN, START, Effect, Event
from rbee.queen.attached_look import Look, look_at
from rbee.queen.served_models import Attached
from rbee.settings import AUTO_PARALLEL
from rbee.wire.attached import Attachment, Foreign
from rbee.wire.control import (
    ATTACHED,
    FromHive,
    Happened,
    Unservable,
    WorkerChanged,
    WorkerGone,
    WorkerView,
)
from rbee.wire.problem import to_problem

if TYPE_CHECKING:
    from rbee.queen.core import Core

Say = Callable[[FromHive], None]

_PAUSE_S = 0.2
"""Between two looks, however many answers break off."""


class AttachedWorkers:
    """All of them. `load` once, `attach` and `detach` at a person's word."""

    def __init__(self, core: Core, say: Say) -> None:
        self._core = core
        self._say = say
        self._path: Path | None = None
        self._servers: dict[str, _Server] = {}

    def load(self, path: Path) -> None:
        """Recall the wishes of earlier lives; a file that cannot be read counts as none."""
        self._path = path
        found, damage = read_wishes(path, list[Attachment])
        if damage is not None:
            self._core.tell_of_damage(damage)
        for one in found:
            self._begin(one)

    def put(self, wish: Attachment, look: Look) -> WorkerView:
        """Take a server that was just looked at into the pool, in the place of one of the same
        address and model."""
        for id_, server in list(self._servers.items()):
            if (server.wish.address, server.wish.theirs) == (wish.address, wish.theirs):
                self._end(id_)
                wish = structs.replace(wish, id=id_)
        server = self._begin(wish, look)
        self._save()
        return server.view

    def drop(self, name: str) -> list[str]:
        """Take those of this id or address out of the pool; what runs on them ends by itself.

        Raises WORKER_NOT_FOUND.
        """
        meant = [
            id_
            for id_, one in self._servers.items()
            if name in (id_, one.wish.address) or name.rstrip("/") == one.wish.address
        ]
        if not meant:
            raise RbeeError("WORKER_NOT_FOUND", worker=name[:100])
        for id_ in meant:
            self._end(id_)
        self._save()
        return meant

    def next_id(self) -> str:
        """Small numbers, used again: `a1`, `a2`."""
        numbers = (f"a{number}" for number in range(1, len(self._servers) + 2))
        return next(id_ for id_ in numbers if id_ not in self._servers)

    def doubt(self, id_: str) -> None:
        """An answer from it broke off: it is looked at now."""
        if id_ in self._servers:
            self._servers[id_].wake.set()

    def of(self, model: str) -> list[WorkerView]:
        """Those that serve this model, well or not."""
        return [one.view for one in self._servers.values() if one.wish.model == model]

    def delay_ms(self, id_: str) -> float | None:
        """How long its last look took to be answered; None: it was not, or it is none of these."""
        server = self._servers.get(id_)
        return round(server.took_s * 1000, 1) if server is not None and server.took_s else None

    async def close(self) -> None:
        for server in self._servers.values():
            server.task.cancel()
        tasks = [server.task for server in self._servers.values()]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, wish: Attachment, look: Look | None = None) -> _Server:
        server = self._servers[wish.id] = _Server(self._core, self._say, wish, look)
        self._name_models()
        server.show()
        return server

    def _end(self, id_: str) -> None:
        server = self._servers.pop(id_)
        server.task.cancel()
        server.tell_mended("was detached, or attached anew", "this fault of it is over")
        self._name_models()
        view = server.view
        if not self.of(view.model):
            lost = RbeeError("MODEL_NOT_FOUND", model=view.model, nearest=[])
            _leave_to_others(self._core, self._say, view, lost)
        self._say(WorkerGone(view.id, view.model, view.mode))

    def _name_models(self) -> None:
        named = self._core.models.attached
        named.clear()
        for server in self._servers.values():
            named[server.wish.model] = Attached(server.view.context_tokens, server.wish.at)

    def _save(self) -> None:
        if self._path is not None:
            wishes = [one.wish for one in self._servers.values()]
            write_private(self._path, msgspec.json.encode(wishes))


class _Server:
    """The one owner of what is known of one server."""

    def __init__(self, core: Core, say: Say, wish: Attachment, look: Look | None) -> None:
        self.wish = wish
        self.wake = asyncio.Event()
        self._core = core
        self._say = say
        self._state = START
        self._key = ""
        self.took_s = 0.0
        self._foreign: Foreign | None = None
        self._error: RbeeError | None = None
        if look is not None:
            self._take(look)
        self.task = asyncio.create_task(self._keep())

    @property
    def view(self) -> WorkerView:
        wish, foreign, error = self.wish, self._foreign, self._error
        said = foreign.context_tokens if foreign else 0
        failed = self._state is attached_life.State.FAILED
        return WorkerView(
            wish.id,
            "",
            wish.model,
            "",
            "chat",
            SHOWN[self._state],
            host=wish.host,
            port=wish.port,
            base=wish.base,
            tls=wish.tls,
            theirs=wish.theirs,
            key=self._key,
            device=ATTACHED,
            slots=wish.slots or AUTO_PARALLEL,
            context_tokens=wish.ctx or said,
            engine=ATTACHED,
            build=foreign.kind if foreign else "",
            problem=to_problem(error.report) if failed and error is not None else None,
            retry_in_s=self._core.settings.timing.health_every_s if failed else 0.0,
        )

    def show(self) -> None:
        """Everybody learns how it is."""
        self._say(WorkerChanged(self.view))

    async def _keep(self) -> None:
        """Until cancelled."""
        if self._state is not START:
            await self._rest()
        while True:
            look = await look_at(self._core.client, self.wish, self._core.settings.timing)
            before = self.view
            effects = self._take(look)
            if self.view != before:
                self.show()
            self._tell(effects)
            await self._rest()

    async def _rest(self) -> None:
        await asyncio.sleep(_PAUSE_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._core.settings.timing.health_every_s):
                await self.wake.wait()
        self.wake.clear()

    def _take(self, look: Look) -> tuple[Effect, ...]:
        """What a look found, in the words of the table."""
        self.took_s = look.took_s
        event = Event.ANSWERED
        if look.error is not None:
            event = Event.SILENT if look.silent else Event.REFUSED
            if look.silent and self._core.roster.busy.get(self.wish.id):
                event = Event.SILENT_AT_WORK
        self._state, effects = attached_life.step(self._state, event)
        if Effect.SHOW in effects:
            self._error, self._key = look.error, look.key
            self._foreign = look.foreign or self._foreign
        return effects

    def _tell(self, effects: tuple[Effect, ...]) -> None:
        view = self.view
        if Effect.TELL_FAILED in effects and self._error is not None:
            every_s = self._core.settings.timing.health_every_s
            done = f"it gets nothing; it is looked at every {every_s:g} s"
            self._log(self._error.code, self._error.report.message, done, "open")
            _leave_to_others(self._core, self._say, view, self._error)
        elif Effect.TELL_BACK in effects:
            self.tell_mended("answers again", "it gets work again")

    def tell_mended(self, what: str, done: str) -> None:
        """What stands open of it in the log of faults needs nobody any more."""
        fault = self._core.events.open_of(self._subject)
        if fault is not None:
            self._log(fault.code, f"{self.wish.id}, an attached server, {what}", done, "ok")

    @property
    def _subject(self) -> str:
        return f"attached {self.wish.id}"

    def _log(self, code: str, what: str, done: str, outcome: str) -> None:
        wish = self.wish
        about = {"model": wish.model, "worker": wish.id, "subject": self._subject}
        self._say(Happened(time.time(), code, what, done, outcome, **about))


def _leave_to_others(core: Core, say: Say, worker: WorkerView, error: RbeeError) -> None:
    """Those who wait for a server that is gone: a worker of ours is loaded for them if that can be,
    else they are told."""
    lane = (worker.model, worker.mode)
    others = [one for one in core.roster.serving(lane) if one.id != worker.id]
    if not core.lanes.lane(lane).waiting or others:
        return
    stored = core.roster.models
    served = next((one for one in core.models.all(stored) if one.name == worker.model), None)
    if served is not None and served.stored is not None:
        try:
            core.ensure(served, lane, ours=True)
        except RbeeError as known:
            error = known
        else:
            return
    say(Unservable(worker.model, worker.mode, to_problem(error.report)))


def new_wish(id_: str, **said: object) -> Attachment:
    """A wish of now."""
    return msgspec.convert({"id": id_, "at": time.time(), **said}, Attachment)
