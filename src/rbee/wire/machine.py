"""What a machine has to compute with: its devices, and the engine that uses them."""

from __future__ import annotations

import msgspec


class Holder(msgspec.Struct, frozen=True):
    """A process that holds memory of a device."""

    pid: int
    name: str
    held_bytes: int = 0
    """0: the driver does not say how much."""


class Device(msgspec.Struct, frozen=True):
    """One device of a machine. `usable` is false when the engine has no backend for it."""

    id: str
    """`cpu`, `cuda:0`, `vulkan:0`, …"""
    name: str
    memory_bytes: int = 0
    free_bytes: int = 0
    usable: bool = True
    advice: str = ""
    """For a device that is here but unusable: the command that mends it."""
    celsius: int = 0
    """How hot it is; 0: not known."""
    hot_at: int = 0
    """From when on its driver slows it down; 0: not known."""
    hot: bool = False
    """It is so hot that its driver slows it down, or is about to."""
    rests: str = ""
    """Why no model is loaded on it for now; empty: it is well."""
    rests_until: float = 0.0
    """When it is looked for again, in seconds since the epoch."""
    holders: tuple[Holder, ...] = ()
    """Who holds its memory, largest first, as far as its driver tells."""


class EngineView(msgspec.Struct, frozen=True):
    kind: str
    """`llama-cpp` or `llama-server`."""
    build: str
    path: str = ""
    devices: tuple[Device, ...] = ()
    problem: str = ""
    """Why it cannot be used; empty: it can."""
