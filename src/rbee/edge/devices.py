"""Which devices this machine has, and which of them the engine can use.

Devices of the engine are what its description says, with what drivers tell of their cards. Cards
that are here and that it does not offer stand beside them, so that a GPU that lies idle is told
with the command that mends it. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rbee.edge import cards as all_cards
from rbee.policy.cards import AMD, Card, joined
from rbee.wire.control import Device

ADVICE = "rbee engine use PATH"
_KFD = Path("/dev/kfd")
"""There if an AMD card can compute, also one that drives no display."""


def all_devices(
    offered: Sequence[Device], drm: Path = all_cards.DRM, kfd: Path = _KFD
) -> tuple[Device, ...]:
    """The engine's devices, then the GPUs that it cannot use."""
    cards = all_cards.look(drm)
    kinds = {device.id.partition(":")[0] for device in offered}
    if kinds - {"cpu"}:
        return joined(offered, cards)
    return (*offered, *_unused(cards, kfd))


def _unused(cards: Sequence[Card], kfd: Path) -> list[Device]:
    found: list[Device] = []
    counts: dict[str, int] = {}
    for card in cards:
        number = counts.get(card.kind, 0)
        counts[card.kind] = number + 1
        found.append(
            Device(
                id=f"{card.kind}:{number}",
                name=card.name,
                memory_bytes=card.memory_bytes,
                free_bytes=card.free_bytes,
                usable=False,
                advice=ADVICE,
            )
        )
    if AMD not in counts and kfd.exists():
        found.append(Device(id=f"{AMD}:0", name="AMD GPU", usable=False, advice=ADVICE))
    return found
