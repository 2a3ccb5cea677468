"""The queen's calls about the store, and what follows for the workers that use it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rbee.edge.logs import Log
from rbee.errors import RbeeError, human_bytes
from rbee.hive.calls import Calls
from rbee.hive.model_room import ModelRoom
from rbee.hive.roster import Roster
from rbee.models.hashing import Progress
from rbee.models.index import Known
from rbee.wire import control
from rbee.wire.stored import Pruned, Verified

_DAMAGE = ("MODEL_CORRUPTED", "MODEL_FILE_MISSING")


class StoreCalls:
    """Does them, one task each; tells faults and changes as they happen."""

    def __init__(
        self,
        calls: Calls,
        models: Callable[[], ModelRoom],
        roster: Callable[[], Roster],
        say: Callable[[control.FromHive], None],
        log: Log,
    ) -> None:
        self._calls = calls
        self._models = models
        self._roster = roster
        self._say = say
        self._log = log
        self._tidying: set[asyncio.Task[None]] = set()

    def hear(self, message: control.ToHive) -> None:
        """A call about the store; others are not answered here."""
        models, start = self._models(), self._calls.start
        match message:
            case control.Pull(call=call, name=name):
                start(call, self._pull(call, name))
            case control.Remove(call=call, ref=ref):
                start(call, models.remove(ref))
            case control.Verify(call=call, ref=ref):
                start(call, self._verify(call, ref))
            case control.Import(call=call, what=what):
                start(call, models.import_from(what, self._progress(call)))
            case control.Pin(call=call, ref=ref, pinned=pinned):
                start(call, models.pin(ref, pinned=pinned))
            case control.Prune():
                start(message.call, self._prune(message))
            case control.Outdated(call=call):
                start(call, models.outdated())
            case control.TakeStock(call=call):
                start(call, models.stock())
            case _:
                return

    # --- news of the room -------------------------------------------------------------------

    def models_changed(self) -> None:
        self.look()
        self._say(control.ModelsChanged(self._models().views))
        self._roster().tick()

    def mended(self, found: Verified) -> None:
        """A damaged model is right again: its workers may have read the rot, and are replaced."""
        fetched = human_bytes(found.fetched_bytes)
        problem = f"{found.rotted} of {found.chunks} chunks were damaged"
        error = RbeeError("MODEL_CORRUPTED", model=found.model.name, problem=problem)
        self._happened(error, f"fetched {fetched} again; its sha256 is right", "ok", found.model)
        self._renew(found.model.ref)

    def trouble(self, error: RbeeError, then: str) -> None:
        self._happened(error, then, "ok")

    def index_trouble(self, known: Known) -> None:
        if known.damage:
            error = RbeeError("INDEX_DAMAGED", problem=known.damage)
            self._happened(error, "moved aside, and made again from the manifests", "ok")
        else:
            self._log.warning("last uses of models are not kept", problem=known.problem)

    def look(self) -> None:
        """Workers of a version that was replaced drain, and the new one is loaded beside them."""
        now = {view.ref: view.digest for view in self._models().views}
        self._roster().renew(
            lambda owner: (
                owner.run is not None
                and owner.run.spec.digest != now.get(owner.wish.ref, owner.run.spec.digest)
            )
        )

    def tidy(self) -> None:
        """A worker is gone, or a version was replaced: files that nobody uses any more go."""
        now = {view.ref: view.digest for view in self._models().views}
        in_use = {
            owner.wish.ref
            for owner in self._roster().owners()
            if owner.run and owner.run.spec.digest != now.get(owner.wish.ref)
        }
        task = asyncio.create_task(self._collect(in_use))
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)

    async def _collect(self, in_use: set[str]) -> None:
        try:
            await self._models().collect_superseded(in_use)
        except RbeeError as error:
            self._log.warning("an old version could not be removed", problem=str(error))

    # --- calls ------------------------------------------------------------------------------

    async def _pull(self, call: str, name: str) -> control.ModelView:
        view = await self._models().pull(name, self._progress(call))
        self.tidy()
        return view

    async def _verify(self, call: str, ref: str) -> Verified:
        try:
            return await self._models().verify(ref, self._progress(call))
        except RbeeError as error:
            if error.code in _DAMAGE:
                # What runs may have read the rot; the next load is told why there is none.
                self._happened(error, "not served until it is whole", "open")
                self._renew(ref)
            raise

    async def _prune(self, wish: control.Prune) -> Pruned:
        kept = dict.fromkeys(wish.declared, "declared")
        kept |= {owner.wish.ref: "loaded" for owner in self._roster().owners()}
        return await self._models().prune(wish.keep_bytes, kept, remove=wish.remove)

    def _renew(self, ref: str) -> None:
        """What still waits for its file has read nothing of it, and goes on."""
        self._roster().renew(
            lambda owner: owner.wish.ref == ref and owner.run is not None, damaged=True
        )

    def _progress(self, call: str) -> Progress:
        def progress(phase: str, done_bytes: int, total_bytes: int) -> None:
            self._say(control.Progress(call, phase, done_bytes, total_bytes))

        return progress

    def _happened(
        self, error: RbeeError, done: str, outcome: str, model: control.ModelView | None = None
    ) -> None:
        what = error.report.message
        self._log.warning(what, code=error.code, done=done, outcome=outcome)
        self._say(
            control.Happened(
                at=time.time(),
                code=error.code,
                what=what,
                done=done,
                outcome=outcome,
                model=model.name if model else str(error.facts.get("model", "")),
            )
        )
