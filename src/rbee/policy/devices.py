"""In which order a model's devices are tried, and how long one that failed is left alone.

The chain is cuda → rocm → vulkan → metal → cpu, only links that exist here. A device that failed
rests: a minute at first, twice as long each time that it fails again. When the pause is over it is
looked for in the engine's list, and one load is its trial; a model that serves there has proved it.

    RESTING  no model is loaded on it
    TRIAL    it is in the engine's list again, and one load may try it
    WELL     it served again; what it did before is remembered for as long as its last pause
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

CPU = "cpu"
ORDER = ("cuda", "rocm", "vulkan", "metal")
"""Before the processor, the best first; backends of other names come after these."""

Link = tuple[str, ...]
"""Devices that one worker uses together."""

FAULTS = frozenset({"GPU_ERROR", "GPU_OUT_OF_MEMORY", "DEVICE_FAULTY", "DEVICE_UNAVAILABLE"})
"""Codes of an end that say something about the device."""

OF_THE_MODEL = frozenset({"GPU_OUT_OF_MEMORY", "DEVICE_FAULTY"})
"""Those that need not hold for another model: it may be smaller, or computed otherwise."""


def groups(free_bytes: Mapping[str, int]) -> list[list[Link]]:
    """The links of a machine by backend, in the order of the chain, the processor last. Of several
    GPUs of one backend the one with most free memory comes first, and all of them together last.
    `free_bytes`: of every device that the engine offers; 0: not known."""
    backends: dict[str, list[str]] = {}
    for one in free_bytes:
        if one != CPU:
            backends.setdefault(one.partition(":")[0], []).append(one)
    found: list[list[Link]] = []
    for backend in sorted(backends, key=_rank):
        ids = sorted(backends[backend], key=_index)
        singly: list[Link] = [(one,) for one in sorted(ids, key=lambda one: -free_bytes[one])]
        found.append(singly + ([tuple(ids)] if len(ids) > 1 else []))
    return [*found, [(CPU,)]]


def _rank(backend: str) -> tuple[int, str]:
    return (ORDER.index(backend) if backend in ORDER else len(ORDER), backend)


def _index(device: str) -> tuple[int, str]:
    number = device.partition(":")[2]
    return (int(number) if number.isdecimal() else 0, device)


class Phase(Enum):
    RESTING = "resting"
    TRIAL = "on trial"
    WELL = "well again"


@dataclass(frozen=True, slots=True)
class Rest:
    """What is held against a device."""

    why: str
    pause_s: float
    until: float
    """RESTING: when it is looked for again. WELL: until when it is remembered."""
    phase: Phase = Phase.RESTING

    @property
    def bars(self) -> bool:
        """Whether no model may be loaded on it now."""
        return self.phase is Phase.RESTING

    def due(self, now: float) -> bool:
        """Whether it may be looked for again."""
        return self.bars and now >= self.until


def failed(before: Rest | None, why: str, now: float, *, first_s: float, cap_s: float) -> Rest:
    """It failed. Workers that die together of one fault lengthen no pause."""
    if before is None or (before.phase is Phase.WELL and now >= before.until):
        return Rest(why, first_s, now + first_s)
    if before.bars and now < before.until:
        return replace(before, why=why)
    pause_s = min(cap_s, 2 * before.pause_s)
    return Rest(why, pause_s, now + pause_s)


def looked_for(rest: Rest, now: float, *, found: bool, cap_s: float) -> Rest:
    """The engine's list was looked at, and it is in it, or not."""
    if found:
        return replace(rest, phase=Phase.TRIAL)
    pause_s = min(cap_s, 2 * rest.pause_s)
    return replace(rest, pause_s=pause_s, until=now + pause_s)


def serves(rest: Rest, now: float) -> Rest:
    """A model serves on it."""
    if rest.phase is Phase.WELL:
        return rest
    return replace(rest, phase=Phase.WELL, until=now + rest.pause_s)


def faulty(code: str, spec_devices: str, offered: Sequence[str]) -> tuple[str, ...]:
    """Which devices an end with this code speaks against; none: it is no fault of a device.
    A worker whose choice was the engine's speaks against all that the engine offers."""
    if code not in FAULTS:
        return ()
    named = offered if spec_devices == "auto" else spec_devices.split(",")
    return tuple(one for one in named if one != CPU)
