"""What shall be served: lasting wishes survive crashes and reboots, passing ones end when idle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from rbee.edge.disk import translated
from rbee.edge.private_file import write_private
from rbee.queen.roster import LaneKey
from rbee.wire.control import ModelWish
from rbee.wire.unreadable import UNREADABLE


class Wishes:
    """One wish per lane. The lasting ones stand in `state/wishes.json`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lasting: dict[LaneKey, ModelWish] = {}
        self._passing: dict[LaneKey, ModelWish] = {}

    def load(self) -> None:
        """Read what an earlier life wished; a file that cannot be read counts as no wish."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=list[ModelWish])
        except (OSError, *UNREADABLE):
            return
        self._lasting = {(wish.name, wish.mode): wish for wish in found}

    def put(self, wish: ModelWish, *, lasting: bool) -> bool:
        """Wish it; False if exactly this was wished already. Raises DISK_… if a lasting wish cannot
        be kept: then it is none."""
        lane = (wish.name, wish.mode)
        if self.get(lane) == wish:
            return False
        if lasting:
            self._save({**self._lasting, lane: wish})
            self._passing.pop(lane, None)
            self._lasting[lane] = wish
        elif lane not in self._lasting:
            self._passing[lane] = wish
        return True

    def has(self, lane: LaneKey) -> bool:
        return lane in self._lasting or lane in self._passing

    def get(self, lane: LaneKey) -> ModelWish | None:
        return self._lasting.get(lane, self._passing.get(lane))

    def drop(self, model: str) -> None:
        """End all wishes for this model. Raises DISK_… if they may come back with the next rbee."""
        before = len(self._lasting)
        self._lasting = {lane: wish for lane, wish in self._lasting.items() if lane[0] != model}
        self._passing = {lane: wish for lane, wish in self._passing.items() if lane[0] != model}
        if len(self._lasting) != before:
            self._save(self._lasting)

    def forget_passing(self, lane: LaneKey) -> None:
        self._passing.pop(lane, None)

    def all(self) -> tuple[ModelWish, ...]:
        return (*self._lasting.values(), *self._passing.values())

    def lasting(self) -> tuple[ModelWish, ...]:
        return tuple(self._lasting.values())

    def _save(self, lasting: Mapping[LaneKey, ModelWish]) -> None:
        data = msgspec.json.encode(list(lasting.values()))
        try:
            write_private(self._path, data)
        except OSError as exc:
            raise translated(exc, "write to", self._path, len(data)) from exc
