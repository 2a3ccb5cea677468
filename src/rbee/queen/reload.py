"""A changed rbee.toml, applied while everything runs: models whose own block is as it was are not
touched, and a file with a mistake in it changes nothing but is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rbee.edge.config_watch import ConfigWatch
from rbee.errors import RbeeError
from rbee.queen.core import Core
from rbee.settings import KEEP_ALWAYS, Settings
from rbee.wire import control

LOOK_S = 0.25
_SUBJECT = "rbee.toml"


class Reload:
    """Looks at the file and has the core follow it."""

    def __init__(self, core: Core, watch: ConfigWatch, note: Callable[..., None]) -> None:
        self._core = core
        self._watch = watch
        self._note = note

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            before = self._watch.now
            try:
                if self._watch.look():
                    self.apply(before, self._watch.now)
                    self._core.audit.by("rbee.toml", "reload", "", "ok")
            except RbeeError as error:
                self._told(error)
            except Exception as mistake:
                # A mistake of ours about this file must not keep the next one from being read.
                self._note("rbee.toml is applied in part", error=mistake)

    def apply(self, before: Settings, now: Settings) -> None:
        """From now on these hold; wishes that they make another are said anew."""
        core = self._core
        core.settings = now
        core.models.follow(now)
        core.lanes.follow(now.limits)
        for wish in core.wishes.lasting():
            if before.models.get(wish.name) != now.models.get(wish.name):
                core.wishes.drop(wish.name)
                self._say(wish)
        for wish in core.wishes.all():
            if not core.wishes.is_lasting(wish):
                self._say(wish)
        for served in core.models.all(core.roster.models):
            lane = (served.name, "chat")
            if served.how.keep_alive_s == KEEP_ALWAYS and not core.wishes.has(lane):
                core.want_always(served)
        self._note("rbee.toml is applied")
        fault = core.events.open_of(_SUBJECT)
        if fault is not None:
            self._happened(fault.code, "rbee.toml can be read again", "it is applied", "ok")

    def _say(self, wish: control.ModelWish) -> None:
        """What this wish is by the new settings; none, if its model is not declared any more."""
        core = self._core
        try:
            served = core.models.find(wish.name, core.roster.models)
        except RbeeError:
            core.unwant(wish.name)
            return
        fresh = served.wish(wish.mode)
        if core.wishes.put(fresh, lasting=False):
            core.link.tell(control.Want(fresh))

    def _told(self, error: RbeeError) -> None:
        done = "the settings from before hold on"
        self._happened(error.code, error.report.message, done, "open")
        self._core.audit.by("rbee.toml", "reload", "", error.code)
        self._note("rbee.toml is not applied", problem=str(error))

    def _happened(self, code: str, what: str, done: str, outcome: str) -> None:
        happened = control.Happened(time.time(), code, what, done, outcome, subject=_SUBJECT)
        self._core.events.add(happened)
        self._core.counters.event(code)
