"""The models of this machine, as the hive uses them: what is stored, and a file that is as stored.

Everything that reads whole files (hashing, fetching) runs in a niced child: `models.child`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from rbee.edge.home import Home
from rbee.errors import RbeeError
from rbee.hive.wish_plan import Stored
from rbee.models import child, leftovers
from rbee.models.hashing import Progress
from rbee.models.index import Index, Known
from rbee.models.manifest import Manifest
from rbee.models.prune import Candidate, advised, choose
from rbee.models.store import Store
from rbee.policy.memory import Shape
from rbee.settings import Settings
from rbee.wire.control import ModelView
from rbee.wire.stored import Compared, Imported, Pruned, Stock, Verified

_TOUCH_AGAIN_S = 60.0
"""A last use is written down once in so long: it orders models by days, not by seconds."""


class News(Protocol):
    """What the room tells its hive."""

    def models_changed(self) -> None:
        """Something was stored, removed or pinned."""
        ...

    def mended(self, found: Verified) -> None:
        """A damaged model was made right."""
        ...

    def trouble(self, error: RbeeError, then: str) -> None:
        """Something went wrong on the way of a model, and was got over."""
        ...

    def index_trouble(self, known: Known) -> None:
        """The index of last uses was damaged, or cannot be written."""
        ...


class ModelRoom:
    """What is stored, kept in memory."""

    def __init__(self, home: Home, settings: Settings, news: News) -> None:
        self.views: tuple[ModelView, ...] = ()
        self._store = Store(Path(settings.models_dir or home.models))
        self._index = Index(self._store.root / "index.sqlite")
        self._news = news
        self._looking = asyncio.Lock()

    # --- looking ----------------------------------------------------------------------------

    async def load(self) -> None:
        """Read what is stored, and tidy up what an earlier life left. Raises nothing."""
        for name in await asyncio.to_thread(self._tidy):
            error = RbeeError("MANIFEST_LOST", model=name)
            self._news.trouble(error, "put back from its second copy")
        await self._read()

    async def ready(self, ref: str) -> Stored:
        """The file of a model, unchanged since its digest was verified; one that is damaged is
        made right from its source.

        Raises MODEL_NOT_FOUND, MODEL_FILE_MISSING, MODEL_CORRUPTED, SOURCE_…, DISK_….
        """
        manifest = await asyncio.to_thread(self._unchanged, ref)
        if manifest is None:
            await self.verify(ref, _unseen, awaited=True)
            manifest = await asyncio.to_thread(self._get, ref)
        await self._touch(manifest.name)
        facts = manifest.facts
        return Stored(
            path=str(self._store.file(manifest)),
            digest=manifest.digest,
            digest_known=manifest.digest_known,
            context_train_tokens=facts.context_train_tokens,
            shape=Shape(
                file_bytes=manifest.size_bytes,
                layers=facts.layers,
                kv_width=facts.kv_width,
                vocabulary=facts.vocabulary,
            ),
        )

    async def stock(self) -> Stock:
        """What lies beside the models. Raises DISK_…."""
        return await asyncio.to_thread(leftovers.stock, self._store)

    def identity(self, ref: str) -> object:
        """Changes when another file stands for this model, or its file was touched."""
        manifest = self._store.get(ref)
        if manifest is None:
            return None
        try:
            found = [self._store.identity(manifest, piece) for piece in manifest.files]
            return (manifest.digest, tuple(found))
        except RbeeError as error:
            return (manifest.digest, error.code)

    # --- changing ---------------------------------------------------------------------------

    async def pull(self, name: str, progress: Progress) -> ModelView:
        """Have a model in the store. Raises what stands in the way; cancelling ends the child."""
        await asyncio.to_thread(leftovers.collect_partials, self._store)
        try:
            view = await child.run("pull", name, progress, self._news.trouble)
        except RbeeError as error:
            candidates = await asyncio.to_thread(self._candidates, {})
            raise advised(error, candidates) from error
        await self._reload()
        return view

    async def import_from(self, what: str, progress: Progress) -> tuple[Imported, ...]:
        """Link what another program holds. Raises MODEL_FILE_MISSING, DISK_…."""
        said = await child.ask("import", what, progress, self._news.trouble)
        await self._reload()
        return msgspec.convert(said, tuple[Imported, ...])

    async def outdated(self) -> tuple[Compared, ...]:
        """What the sources of stored models have now."""
        said = await child.ask("outdated", "-", _unseen, self._news.trouble)
        return msgspec.convert(said, tuple[Compared, ...])

    async def verify(self, ref: str, progress: Progress, *, awaited: bool = False) -> Verified:
        """Read a model again, and mend it if it is damaged; `awaited` by a load. Raises
        MODEL_CORRUPTED, MODEL_FILE_MISSING, SOURCE_…, DISK_…."""
        said = await child.ask("verify", ref, progress, self._news.trouble, awaited=awaited)
        found = msgspec.convert(said, Verified)
        if found.rotted:
            await self._reload()
            self._news.mended(found)
        return found

    async def remove(self, ref: str) -> str:
        """Forget a model, or remove a file that has no name (`sha256:…`). Raises MODEL_NOT_FOUND
        or DISK_…."""
        if ref.startswith("sha256:"):
            return await asyncio.to_thread(leftovers.remove_unnamed, self._store, ref)
        manifest = await asyncio.to_thread(self._store.remove, ref)
        await self._reload()
        return manifest.ref

    async def pin(self, ref: str, *, pinned: bool) -> ModelView:
        """Have a model never pruned, or again. Raises MODEL_NOT_FOUND, DISK_…."""
        manifest = await asyncio.to_thread(lambda: self._store.pin(ref, pinned=pinned))
        await self._reload()
        return self._store.view(manifest)

    async def prune(self, keep_bytes: int, kept: Mapping[str, str], *, remove: bool) -> Pruned:
        """Bring the store down to that size, least recently used first. `kept`: names and refs
        that stay, with the reason. Raises DISK_…."""
        await asyncio.to_thread(leftovers.collect_partials, self._store)
        candidates = await asyncio.to_thread(self._candidates, kept)
        choice = choose(candidates, keep_bytes)
        views = {view.name: view for view in self.views}
        if remove:
            for one in choice.chosen:
                await asyncio.to_thread(self._store.remove, one.name)
            await self._reload()
        return Pruned(
            chosen=tuple(views[one.name] for one in choice.chosen if one.name in views),
            before_bytes=choice.before_bytes,
            after_bytes=choice.after_bytes,
            kept={one.name: one.kept for one in candidates if one.kept},
        )

    async def collect_superseded(self, in_use: Collection[str]) -> None:
        """Files of versions before an update go, but for models whose old version a worker still
        uses (by ref). Raises DISK_…."""
        if any(view.superseded and view.ref not in in_use for view in self.views):
            await asyncio.to_thread(self._store.collect_superseded, in_use)
            await self._read()

    # --- inside -----------------------------------------------------------------------------

    def _candidates(self, kept: Mapping[str, str]) -> list[Candidate]:
        used_at = {view.name: view.used_at for view in self.views}
        return [
            Candidate(
                name=one.name,
                ref=one.ref,
                files=self._store.own_files(one),
                used_at=used_at.get(one.name, one.added_at),
                kept=kept.get(one.name) or kept.get(one.ref) or ("pinned" if one.pinned else ""),
            )
            for one in self._store.all()
        ]

    def _tidy(self) -> list[str]:
        """Gives the models that were lost and are found again."""
        found: list[str] = []
        try:
            self._store.settle()
            found = self._store.mend()
            leftovers.collect_partials(self._store)
        except (RbeeError, OSError):
            # A store that cannot be written to still serves; whoever writes is told.
            return found
        return found

    async def _touch(self, name: str) -> None:
        """It is loaded now."""
        now = time.time()
        used_at = {view.name: view.used_at for view in self.views}.get(name, now)
        if now - used_at > _TOUCH_AGAIN_S:
            await asyncio.to_thread(self._index.touch, name)
            await self._read()
            self._news.models_changed()

    def _unchanged(self, ref: str) -> Manifest | None:
        """The model, or None if its file has to be hashed first."""
        manifest = self._get(ref)
        try:
            return None if self._store.needs_hash(manifest) else manifest
        except RbeeError as error:
            if error.code != "MODEL_FILE_MISSING":
                raise
            return None

    def _get(self, ref: str) -> Manifest:
        manifest = self._store.get(ref)
        if manifest is None:
            raise RbeeError("MODEL_NOT_FOUND", model=ref, nearest=[])
        return manifest

    async def _read(self) -> None:
        # One look after the other: one that began before a change must not end after its look.
        async with self._looking:
            self.views, known = await asyncio.to_thread(self._look)
        if known.damage or known.problem:
            self._news.index_trouble(known)

    def _look(self) -> tuple[tuple[ModelView, ...], Known]:
        manifests = self._store.all()
        known = self._index.sync(manifests)
        views = tuple(self._store.view(one, known.used_at[one.name]) for one in manifests)
        return views, known

    async def _reload(self) -> None:
        await self._read()
        self._news.models_changed()


def _unseen(phase: str, done_bytes: int, total_bytes: int) -> None:
    """Nobody looks at the progress of a hash before a load."""
