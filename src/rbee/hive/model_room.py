"""The models of this machine, as the hive uses them: what is stored, and a file that is as stored.

Everything that reads whole files (hashing, fetching) runs in a niced child: `models.child`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from rbee.edge.home import Home
from rbee.errors import RbeeError
from rbee.hive.wish_plan import Stored
from rbee.models import child
from rbee.models.hashing import Progress
from rbee.models.manifest import Manifest
from rbee.models.store import Store
from rbee.settings import Settings
from rbee.wire.control import ModelView


class ModelRoom:
    """What is stored, kept in memory. `on_change` is called when it has changed."""

    def __init__(self, home: Home, settings: Settings, on_change: Callable[[], None]) -> None:
        self.views: tuple[ModelView, ...] = ()
        self._store = Store(Path(settings.models_dir or home.models))
        self._on_change = on_change

    async def load(self) -> None:
        """Read what is stored."""
        self.views = await asyncio.to_thread(self._store.views)

    async def ready(self, ref: str) -> Stored:
        """The file of a model, unchanged since its digest was verified.

        Raises MODEL_NOT_FOUND, MODEL_FILE_MISSING, MODEL_CORRUPTED, DISK_….
        """
        manifest = await asyncio.to_thread(self._unchanged, ref)
        if manifest is None:
            await child.run("verify", ref, _unseen)
            manifest = await asyncio.to_thread(self._get, ref)
        facts = manifest.facts
        return Stored(
            path=str(self._store.file(manifest)),
            digest=manifest.digest,
            digest_known=manifest.digest_known,
            context_train_tokens=facts.context_train_tokens,
        )

    async def verify(self, ref: str, progress: Progress) -> None:
        """Hash a model's file again, whatever its identity says. Raises as `ready` does."""
        await child.run("verify", ref, progress)

    async def pull(self, name: str, progress: Progress) -> ModelView:
        """Have a model in the store. Raises what stands in the way; cancelling ends the child."""
        view = await child.run("pull", name, progress)
        await self._reload()
        return view

    async def remove(self, ref: str) -> str:
        """Forget a model. Raises MODEL_NOT_FOUND or DISK_…."""
        manifest = await asyncio.to_thread(self._store.remove, ref)
        await self._reload()
        return manifest.ref

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

    def _unchanged(self, ref: str) -> Manifest | None:
        """The model, or None if its file has to be hashed first."""
        manifest = self._get(ref)
        return None if self._store.needs_hash(manifest) else manifest

    def _get(self, ref: str) -> Manifest:
        manifest = self._store.get(ref)
        if manifest is None:
            raise RbeeError("MODEL_NOT_FOUND", model=ref, nearest=[])
        return manifest

    async def _reload(self) -> None:
        await self.load()
        self._on_change()


def _unseen(phase: str, done_bytes: int, total_bytes: int) -> None:
    """Nobody looks at the progress of a hash before a load."""
