"""Promises about what a hive knows of its store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rbee.edge.home import Home
from rbee.errors import RbeeError
from rbee.hive.model_room import ModelRoom
from rbee.models.index import Known
from rbee.settings import Settings
from rbee.wire.stored import Verified
from tests.models.test_store import stored

MODELS = 13


class _NobodyHears:
    """Takes what the room tells its hive."""

    def models_changed(self) -> None:
        pass

    def mended(self, found: Verified) -> None:
        pass

    def trouble(self, error: RbeeError, then: str) -> None:
        pass

    def index_trouble(self, known: Known) -> None:
        pass


def test_many_changes_at_once_are_all_known(tmp_path: Path) -> None:
    """Looks at the store run side by side with changes: a look that began earlier and ends later
    takes nothing back."""
    home = Home(tmp_path)
    home.prepare()
    for number in range(MODELS):
        stored(home.models, name=f"m{number}", data=f"GGUF {number}".encode())
    room = ModelRoom(home, Settings(home=str(tmp_path)), _NobodyHears())

    async def run() -> None:
        await room.load()
        for pinned in (True, False) * 25:
            changes = [room.pin(f"m{number}", pinned=pinned) for number in range(MODELS)]
            await asyncio.gather(*changes)
            assert [view.pinned for view in room.views] == [pinned] * MODELS

    asyncio.run(run())
