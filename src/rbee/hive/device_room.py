"""What is known of this machine's devices: what is free on them, who holds it, which of them rest.

A fault rests a device for every model (it was lost), or for one alone (too little memory for it,
rubbish with it); `policy.devices` says for how long. What drivers tell is looked at in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from msgspec import structs

from rbee.edge import cards as all_cards
from rbee.edge import machine_memory
from rbee.errors import human_bytes
from rbee.hive.device_links import Machine, Resting
from rbee.hive.engine_room import EngineRoom
from rbee.policy import devices as policy
from rbee.policy.cards import Card, card_of, joined
from rbee.policy.devices import CPU, OF_THE_MODEL, Phase, Rest
from rbee.settings import Timing
from rbee.wire.control import Device, Holder, ModelWish

_Whose = tuple[str, str, str]
"""Device, model and mode; no model: every model."""

_STALE_S = 10.0
"""What an engine said of free memory is asked anew after so long, where no driver tells it."""

_TOLD_STEP_BYTES = 512 << 20
"""Free memory is told in steps: it changes with every request of anybody."""

_HOLDERS_TOLD = 3

_FREED_S = 2.0
"""For a driver to take back what a dead process held."""
_FREED_LOOK_S = 0.1


class DeviceRoom:
    """Owner of what is held against devices."""

    def __init__(
        self,
        engine: EngineRoom,
        timing: Callable[[], Timing],
        look: Callable[[], tuple[Card, ...]] = all_cards.look,
    ) -> None:
        self._engine = engine
        self._timing = timing
        self._look = look
        self._cards: tuple[Card, ...] = ()
        self._hot: frozenset[str] = frozenset()
        self._rests: dict[_Whose, Rest] = {}
        self._asked_at = time.monotonic()

    # --- looking ----------------------------------------------------------------------------

    @property
    def offered(self) -> tuple[str, ...]:
        """What the engine can use."""
        return tuple(one.id for one in self._engine.engine.devices if one.usable)

    @property
    def has_gpu(self) -> bool:
        return any(one != CPU for one in self.offered)

    async def look(self) -> tuple[Device, ...]:
        """See what drivers say now; the devices that became too hot, or are not any more."""
        self._cards = await asyncio.to_thread(self._look)
        before = self._hot
        self._hot = frozenset(one.id for one in self._now() if one.hot)
        return tuple(one for one in self._now() if one.id in before ^ self._hot)

    async def look_before_load(self) -> None:
        """The same, and what the engine itself says where no driver tells what is free."""
        if not self.has_gpu:
            return
        await self.look()
        gpus = [one for one in self._engine.engine.devices if one.usable and one.id != CPU]
        untold = any(card_of(one, gpus, self._cards) is None for one in gpus)
        if untold and time.monotonic() - self._asked_at > _STALE_S:
            await self.ask_again()

    async def ask_again(self) -> None:
        """Have the engine list its devices anew."""
        await self._engine.ask(again=True)
        self._asked_at = time.monotonic()

    def free_bytes(self, device: str) -> int:
        """Of its memory, now; 0: not known."""
        return next((one.free_bytes for one in self._now() if one.id == device), 0)

    def holders(self, device: str) -> str:
        """Who holds its memory, in words; empty: not known."""
        found = next((one.holders for one in self._now() if one.id == device), ())
        names = [_holder(one) for one in found[:_HOLDERS_TOLD]]
        return f"on {device}: {', '.join(names)}" if names else ""

    async def still_held(self, pids: frozenset[int]) -> tuple[str, ...]:
        """Devices whose driver says that one of these processes holds memory, though all of them
        have ended; a driver that is busy with that gets a moment."""
        until = time.monotonic() + _FREED_S
        while True:
            await self.look()
            held = tuple(one.id for one in self._now() if pids & {two.pid for two in one.holders})
            if not held or time.monotonic() >= until:
                return held
            await asyncio.sleep(_FREED_LOOK_S)

    def machine(self, wish: ModelWish) -> Machine:
        """For the plan of this wish."""
        free = {one.id: one.free_bytes for one in self._now() if one.usable}
        return Machine(free, self._resting(wish))

    def views(self) -> tuple[Device, ...]:
        """All devices for people's screens, those that the engine cannot use too."""
        now = time.monotonic()
        told = []
        for one in map(_here, self._now()):
            held = {
                whose: rest
                for whose, rest in self._rests.items()
                if whose[0] == one.id and rest.bars
            }
            whose = min(held, default=None)
            shown = structs.replace(
                one,
                free_bytes=one.free_bytes // _TOLD_STEP_BYTES * _TOLD_STEP_BYTES,
                rests=_rests(whose, held[whose]) if whose else "",
                rests_until=round(time.time() + held[whose].until - now) if whose else 0.0,
            )
            told.append(shown)
        return tuple(told)

    def _now(self) -> tuple[Device, ...]:
        known = tuple(structs.replace(one, hot=one.id in self._hot) for one in self._engine.devices)
        usable = [one for one in known if one.usable]
        return (*joined(usable, self._cards), *(one for one in known if not one.usable))

    # --- what is held against them ----------------------------------------------------------

    def barred(self, wish: ModelWish) -> frozenset[str]:
        """Devices on which no worker of this wish is started now."""
        return frozenset(self._resting(wish))

    def on_trial(self, device: str, wish: ModelWish) -> bool:
        """Whether it has yet to prove itself with one load."""
        return any(
            rest.phase is Phase.TRIAL
            for whose, rest in self._rests.items()
            if _is(whose, device, wish)
        )

    def failed(self, devices: Iterable[str], wish: ModelWish, code: str, why: str) -> float:
        """They rest, for every model or for this one alone; for how long."""
        now, timing = time.monotonic(), self._timing()
        longest_s = 0.0
        for device in devices:
            whose = _whose(device, wish, code)
            rest = policy.failed(
                self._rests.get(whose),
                why,
                now,
                first_s=timing.device_rest_s,
                cap_s=timing.device_rest_cap_s,
            )
            self._rests[whose] = rest
            longest_s = max(longest_s, rest.until - now)
        return longest_s

    def serves(self, devices: Iterable[str], wish: ModelWish) -> tuple[str, ...]:
        """A model serves there; which of them have proved themselves by it."""
        now, proved = time.monotonic(), []
        for device in devices:
            for whose, rest in self._rests.items():
                if _is(whose, device, wish) and rest.phase is Phase.TRIAL:
                    self._rests[whose] = policy.serves(rest, now)
                    proved.append(device)
        return tuple(dict.fromkeys(proved))

    def due(self) -> bool:
        """Whether one of them may be looked for again."""
        now = time.monotonic()
        return any(rest.due(now) for rest in self._rests.values())

    async def look_for(self) -> tuple[tuple[str, str], ...]:
        """Ask the engine which of the due ones are there; those that are, each with what was held
        against it."""
        await self.ask_again()
        now, cap_s = time.monotonic(), self._timing().device_rest_cap_s
        back: dict[str, str] = {}
        for whose, rest in tuple(self._rests.items()):
            if rest.due(now):
                found = whose[0] in self.offered
                self._rests[whose] = policy.looked_for(rest, now, found=found, cap_s=cap_s)
                if found:
                    back[whose[0]] = rest.why
        return tuple(back.items())

    def forget(self, wish: ModelWish) -> None:
        """A person asks afresh: they may have been mended."""
        for whose in [whose for whose in self._rests if _is(whose, whose[0], wish)]:
            del self._rests[whose]

    def _resting(self, wish: ModelWish) -> dict[str, Resting]:
        now = time.monotonic()
        return {
            whose[0]: Resting(rest.why, max(0.0, rest.until - now))
            for whose, rest in self._rests.items()
            if rest.bars and _is(whose, whose[0], wish)
        }


def _rests(whose: _Whose, rest: Rest) -> str:
    """Why, and for which model if it is not for all."""
    return f"for {whose[1]}: {rest.why}" if whose[1] else rest.why


def _here(device: Device) -> Device:
    """The processor's memory is this machine's, or what its control group leaves of it: what the
    engine says of it is the whole machine, and always free."""
    if device.id != CPU:
        return device
    memory = machine_memory.look()
    return structs.replace(
        device, memory_bytes=memory.total_bytes, free_bytes=memory.available_bytes
    )


def _holder(one: Holder) -> str:
    held = f" {human_bytes(one.held_bytes)}" if one.held_bytes else ""
    return f"{one.name} (pid {one.pid}){held}"


def _whose(device: str, wish: ModelWish, code: str) -> _Whose:
    return (device, wish.name, wish.mode) if code in OF_THE_MODEL else (device, "", "")


def _is(whose: _Whose, device: str, wish: ModelWish) -> bool:
    return whose[0] == device and whose[1:] in (("", ""), (wish.name, wish.mode))
