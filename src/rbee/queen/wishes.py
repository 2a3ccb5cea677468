"""What shall be served: lasting wishes survive crashes and reboots, passing ones end when idle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from rbee.edge.disk import translated
from rbee.edge.kept_wishes import read_wishes
from rbee.edge.private_file import write_private
from rbee.errors import RbeeError
from rbee.queen.roster import LaneKey
from rbee.settings import KEEP_ALWAYS
from rbee.wire.control import ModelWish


class Wishes:
    """One wish per lane. The lasting ones stand in `state/wishes.json`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lasting: dict[LaneKey, ModelWish] = {}
        self._passing: dict[LaneKey, ModelWish] = {}
        self._resting: set[LaneKey] = set()
        """Wished, but not now: `rbee stop --all` frees the machine for something else."""

    def load(self) -> RbeeError | None:
        """Read what an earlier life wished; gives what is to be told of it if it cannot be read."""
        found, damage = read_wishes(self._path, list[ModelWish])
        self._lasting = {(wish.name, wish.mode): wish for wish in found}
        return damage

    def put(self, wish: ModelWish, *, lasting: bool) -> bool:
        """Wish it; False if exactly this was wished already. Raises DISK_… if a lasting wish cannot
        be kept: then it is none."""
        lane = (wish.name, wish.mode)
        if self.get(lane) == wish and lane not in self._resting:
            return False
        self._resting.discard(lane)
        if lasting:
            self._save({**self._lasting, lane: wish})
            self._passing.pop(lane, None)
            self._lasting[lane] = wish
        elif lane not in self._lasting:
            self._passing[lane] = wish
        return True

    def has(self, lane: LaneKey) -> bool:
        known = lane in self._lasting or lane in self._passing
        return known and lane not in self._resting

    def get(self, lane: LaneKey) -> ModelWish | None:
        return self._lasting.get(lane, self._passing.get(lane))

    def drop(self, model: str) -> None:
        """End all wishes for this model. Raises DISK_… if they may come back with the next rbee."""
        before = len(self._lasting)
        self._resting = {lane for lane in self._resting if lane[0] != model}
        self._lasting = {lane: wish for lane, wish in self._lasting.items() if lane[0] != model}
        self._passing = {lane: wish for lane, wish in self._passing.items() if lane[0] != model}
        if len(self._lasting) != before:
            self._save(self._lasting)

    def forget_passing(self, lane: LaneKey) -> None:
        if lane not in self._resting:
            self._passing.pop(lane, None)

    def rest(self) -> None:
        """What is to stay loaded rests until `resume`; the rest ends."""
        every = {**self._lasting, **self._passing}
        self._resting = {lane for lane, wish in every.items() if wish.keep_alive_s == KEEP_ALWAYS}
        self._passing = {lane: wish for lane, wish in every.items() if lane in self._resting}
        self._passing = {k: wish for k, wish in self._passing.items() if k not in self._lasting}

    def resume(self) -> tuple[ModelWish, ...]:
        """Those that rested; they are wished again."""
        back = tuple(wish for lane in self._resting if (wish := self.get(lane)) is not None)
        self._resting = set()
        return back

    def is_lasting(self, wish: ModelWish) -> bool:
        return (wish.name, wish.mode) in self._lasting

    def all(self) -> tuple[ModelWish, ...]:
        """Everything that is wished now."""
        every = {**self._passing, **self._lasting}
        return tuple(wish for lane, wish in every.items() if lane not in self._resting)

    def lasting(self) -> tuple[ModelWish, ...]:
        return tuple(self._lasting.values())

    def _save(self, lasting: Mapping[LaneKey, ModelWish]) -> None:
        data = msgspec.json.encode(list(lasting.values()))
        try:
            write_private(self._path, data)
        except OSError as exc:
            raise translated(exc, "write to", self._path, len(data)) from exc
