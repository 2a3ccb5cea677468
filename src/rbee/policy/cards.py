"""Cards, as drivers and the kernel tell of them, beside devices, as the engine tells of them: pure.

The engine knows which devices it can use, and not what happens on them. Drivers know that, under
names and numbers of their own: CUDA counts the fastest card first, NVIDIA's library by the slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs

from rbee.wire.machine import Device, Holder

NVIDIA, AMD, INTEL = "cuda", "rocm", "vulkan"
"""Kinds of cards, each called after the first backend of the chain that drives it."""

_WORDS = {NVIDIA: ("nvidia", "geforce"), AMD: ("amd", "radeon"), INTEL: ("intel",)}

HOT_CELSIUS = 90
"""Where the driver does not say from when on it slows the card down."""
_COOLER_BY = 8
"""So much below its limit a hot card is no longer called hot, so that nothing flickers."""


@dataclass(frozen=True, slots=True)
class Card:
    """One graphics card, now."""

    kind: str
    name: str
    memory_bytes: int = 0
    free_bytes: int = 0
    """0: not told."""
    celsius: int = 0
    limit_celsius: int = 0
    """From when on the driver slows it down; 0: not told."""
    holders: tuple[Holder, ...] = ()


def joined(devices: Sequence[Device], cards: Sequence[Card]) -> tuple[Device, ...]:
    """The same devices with what is known of their cards. A device whose card cannot be told for
    sure stays as the engine described it."""
    return tuple(_told(device, card_of(device, devices, cards)) for device in devices)


def _told(device: Device, card: Card | None) -> Device:
    if card is None:
        return device
    return structs.replace(
        device,
        memory_bytes=card.memory_bytes or device.memory_bytes,
        free_bytes=card.free_bytes if card.memory_bytes else device.free_bytes,
        celsius=card.celsius,
        hot_at=card.limit_celsius or HOT_CELSIUS,
        hot=is_hot(card, was=device.hot),
        holders=card.holders,
    )


def is_hot(card: Card, *, was: bool) -> bool:
    """Whether it is slowed down by its heat, or about to be."""
    limit = card.limit_celsius or HOT_CELSIUS
    return card.celsius >= (limit - _COOLER_BY if was else limit)


def card_of(device: Device, devices: Sequence[Device], cards: Sequence[Card]) -> Card | None:
    """The n-th device of a backend and a name is the n-th card of that name; if there are not as
    many of them, nobody knows which is which."""
    kind = _kind(device)
    if kind is None:
        return None
    backend = device.id.partition(":")[0]
    alike = [one for one in devices if one.id.partition(":")[0] == backend and _kind(one) == kind]
    same = [one for one in cards if one.kind == kind]
    named = [one for one in same if one.name == device.name]
    if named:
        alike, same = [one for one in alike if one.name == device.name], named
    return same[alike.index(device)] if len(alike) == len(same) else None


def _kind(device: Device) -> str | None:
    backend = device.id.partition(":")[0]
    if backend in (NVIDIA, AMD):
        return backend
    name = device.name.lower()
    found = (kind for kind, words in _WORDS.items() if any(word in name for word in words))
    return next(found, None)
