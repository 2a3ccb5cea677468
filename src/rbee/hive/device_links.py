"""Which devices of this machine a wish may run on, in which order, and what it leaves out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rbee.errors import RbeeError
from rbee.policy.devices import CPU, Link, groups
from rbee.wire.control import EngineView, ModelWish

AUTO = "auto"
"""The engine's own choice; taken where it has no other than the processor."""

ENGINES_OWN_CHOICE = frozenset({AUTO, CPU})
"""Devices that every engine has."""


NOT_OFFERED = "this engine does not offer it"
TOO_LITTLE = "too little memory is free there"


@dataclass(frozen=True, slots=True)
class Resting:
    """A device that no model is loaded on for now."""

    why: str
    rests_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of this machine's devices."""

    free_bytes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Of each device, now; 0 or absent: not known."""
    resting: Mapping[str, Resting] = field(default_factory=lambda: MappingProxyType({}))
    """For the wish in question."""


@dataclass(frozen=True, slots=True)
class Place:
    """A link that may be used."""

    link: Link
    passed_over: Mapping[str, str]
    """Devices that come before it in the chain and why each is not used; an empty reason: only if
    the model does not fit there."""

    @property
    def device(self) -> str:
        return ",".join(self.link)


def pinned(wish: ModelWish) -> bool:
    """Whether a person insists on the device."""
    return wish.device != AUTO and not wish.fallback


def needs_engine_facts(wish: ModelWish, engine: EngineView) -> bool:
    """Whether the engine's devices must be known before this wish can be started. The built-in
    engine's own choice is left to it: asking costs the first answer a second."""
    return wish.device not in ENGINES_OWN_CHOICE or (wish.device == AUTO and bool(engine.path))


def places(wish: ModelWish, engine: EngineView, machine: Machine) -> list[list[Place]]:
    """The chain of this wish: places that may be used, those that are as good as one another
    together. Raises DEVICE_UNAVAILABLE, DEVICE_FAULTY for a device that a person insists on."""
    passed: dict[str, str] = {}
    found: list[list[Place]] = []
    for group in _chain(wish, engine, machine, passed):
        fit = [link for link in group if not any(one in machine.resting for one in link)]
        if fit:
            found.append([Place(link, dict(passed)) for link in fit])
        for one in (one for link in group for one in link):
            passed.setdefault(one, machine.resting[one].why if one in machine.resting else "")
    if not found or pinned(wish):
        _refuse_resting(wish, machine)
    return found


def _chain(
    wish: ModelWish, engine: EngineView, machine: Machine, passed: dict[str, str]
) -> list[list[Link]]:
    if wish.device == CPU:
        return [[(CPU,)]]
    usable = [one.id for one in engine.devices if one.usable]
    whole = groups({one: machine.free_bytes.get(one, 0) for one in usable})
    if len(whole) == 1:
        whole = [[(AUTO,)]]
    if wish.device == AUTO:
        return whole
    wanted = tuple(wish.device.split(","))
    absent = [one for one in wanted if one not in usable]
    if absent and not wish.fallback:
        available = usable or [CPU]
        raise RbeeError(
            "DEVICE_UNAVAILABLE", device=", ".join(absent), available=available, model=wish.name
        )
    if not wish.fallback:
        return [[wanted]]
    passed.update(dict.fromkeys(absent, NOT_OFFERED))
    first: list[list[Link]] = [] if absent else [[wanted]]
    rest = [[link for link in group if link != wanted] for group in whole]
    return [*first, *(group for group in rest if group)]


def _refuse_resting(wish: ModelWish, machine: Machine) -> None:
    for one in wish.device.split(","):
        if one in machine.resting:
            why = machine.resting[one]
            raise RbeeError(
                "DEVICE_FAULTY",
                device=one,
                model=wish.name,
                problem=why.why,
                retry_after_s=round(why.rests_s, 1),
            )


def told(place: Place) -> str:
    """Why it runs there and not on what comes before it in the chain; empty: nothing does."""
    before = [one for one in place.passed_over if one not in place.link]
    if not before:
        return ""
    device = CPU if place.link == (AUTO,) else place.device
    why = ", ".join(f"{one}: {place.passed_over[one] or TOO_LITTLE}" for one in before)
    return f"device={device} ({why})"
