"""Promises about which card is which device, and when a card is hot."""

from __future__ import annotations

from rbee.policy.cards import HOT_CELSIUS, Card, card_of, is_hot, joined
from rbee.wire.machine import Device, Holder

GIB = 1 << 30
CPU = Device("cpu", "CPU")
GAME = Holder(7, "game", 5 * GIB)


def _nvidia(name: str, free: int = GIB) -> Card:
    return Card("cuda", name, 8 * GIB, free)


def test_a_device_is_told_what_its_card_says() -> None:
    """What is free now, who holds the rest, how hot it is; the processor has no card."""
    card = Card("cuda", "NVIDIA A", 8 * GIB, 3 * GIB, 95, 93, (GAME,))
    cpu, gpu = joined((CPU, Device("cuda:0", "NVIDIA A", 7 * GIB, 7 * GIB)), [card])
    assert cpu == CPU
    assert (gpu.free_bytes, gpu.holders, gpu.celsius, gpu.hot) == (3 * GIB, (GAME,), 95, True)


def test_cards_are_found_by_their_names() -> None:
    """CUDA counts the fastest first, the library by the slot."""
    devices = [Device("cuda:0", "NVIDIA Fast"), Device("cuda:1", "NVIDIA Slow")]
    cards = [_nvidia("NVIDIA Slow", 1), _nvidia("NVIDIA Fast", 2)]
    assert [one.free_bytes for one in joined(devices, cards)] == [2, 1]


def test_equal_cards_are_taken_in_order() -> None:
    """Two of one name on both sides: the first is the first."""
    devices = [Device("cuda:0", "NVIDIA A"), Device("cuda:1", "NVIDIA A")]
    assert [one.free_bytes for one in joined(devices, [_nvidia("NVIDIA A", 1)] * 2)] == [1, 1]


def test_what_cannot_be_told_for_sure_is_not_told() -> None:
    """One device of two equal cards (CUDA_VISIBLE_DEVICES): nobody knows which of them it is."""
    device = Device("cuda:0", "NVIDIA A", 8 * GIB, 6 * GIB)
    assert joined([device], [_nvidia("NVIDIA A", 1), _nvidia("NVIDIA A", 2)]) == (device,)


def test_vulkan_finds_the_card_of_whoever_made_it() -> None:
    """The kernel has no names for AMD's cards, Vulkan has long ones."""
    amd = Device("vulkan:0", "AMD Radeon RX 6700 XT (RADV NAVI22)")
    nvidia = Device("vulkan:1", "NVIDIA GeForce RTX 3090")
    cards = [Card("rocm", "AMD GPU", 12 * GIB, 4), _nvidia("NVIDIA GeForce RTX 3090", 9)]
    assert [one.free_bytes for one in joined([amd, nvidia], cards)] == [4, 9]
    lavapipe = Device("vulkan:0", "llvmpipe (LLVM 15.0.6, 256 bits)")
    assert card_of(lavapipe, [lavapipe], cards) is None


def test_a_hot_card_is_hot_until_it_is_clearly_cooler() -> None:
    """At the limit that its driver names, or at 90 degrees; no flicker around it."""
    limited = Card("cuda", "A", celsius=92, limit_celsius=93)
    assert not is_hot(limited, was=False) and is_hot(limited, was=True)
    assert not is_hot(Card("cuda", "A", celsius=84, limit_celsius=93), was=True)
    assert is_hot(Card("rocm", "A", celsius=HOT_CELSIUS), was=False)
    assert not is_hot(Card("rocm", "A"), was=True)
