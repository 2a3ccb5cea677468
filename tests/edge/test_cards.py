"""Promises about cards, told by a double of NVIDIA's library and by a folder of the kernel's shape.

No GPU is on the machines that run this. The double is a shared library that the real binding loads;
on a machine with a card the same promises hold of the real one, whatever it says.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from faults import nvml
from faults.nvml import NvidiaCard
from rbee.edge import cards
from rbee.policy.cards import Card
from rbee.wire.machine import Holder

GIB = 1 << 30
ASK = """
import sys, msgspec
from pathlib import Path
from rbee.edge import cards
sys.stdout.buffer.write(msgspec.json.encode(cards.look(Path(sys.argv[1]))))
"""


def _told(folder: Path, **environment: str) -> list[Card]:
    """What a process of its own sees: a library is loaded once for a process."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(folder / "drm")],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    return msgspec.json.decode(done.stdout, type=list[Card])


def _keeps_its_promises(found: list[Card]) -> None:
    """What holds of every library of NVIDIA's, the real one and the double."""
    for card in found:
        assert card.kind and card.name
        assert 0 <= card.free_bytes <= card.memory_bytes
        assert 0 <= card.celsius < 200 and 0 <= card.limit_celsius < 200
        held = [one.held_bytes for one in card.holders]
        assert held == sorted(held, reverse=True)
        assert all(one.pid > 0 and one.name for one in card.holders)


def test_the_library_of_this_machine_keeps_its_promises(tmp_path: Path) -> None:
    """With a card or without one."""
    _keeps_its_promises(_told(tmp_path))


def test_nvidias_cards_are_told_with_heat_and_holders(tmp_path: Path) -> None:
    """Who holds the memory is named, largest first; a process that is gone is not made up."""
    if nvml.compiler() is None:
        pytest.skip("program: a C compiler for the double of NVIDIA's library")
    environment = nvml.install(tmp_path / "nvml")
    own, gone = os.getpid(), 2**22 + 7
    nvml.write(
        tmp_path / "nvml",
        NvidiaCard("NVIDIA A", 8 * GIB, 2 * GIB, 91, 93, ((gone, GIB), (own, 4 * GIB))),
        NvidiaCard("NVIDIA B", 24 * GIB, 24 * GIB, 30),
    )
    first, second = found = _told(tmp_path, **environment)
    _keeps_its_promises(found)
    assert (first.name, first.memory_bytes, first.free_bytes) == ("NVIDIA A", 8 * GIB, 2 * GIB)
    assert (first.celsius, first.limit_celsius, second.limit_celsius) == (91, 93, 0)
    assert [one.pid for one in first.holders] == [own, gone]
    assert first.holders[0].held_bytes == 4 * GIB and "python" in first.holders[0].name
    assert first.holders[1] == Holder(gone, "a process of another user", GIB)
    assert second.holders == ()


def test_the_kernels_cards_are_told_with_memory_and_heat(tmp_path: Path) -> None:
    """AMD's driver tells memory in use; the sensor's numbers are thousandths of degrees."""
    device = tmp_path / "card0" / "device"
    sensor = device / "hwmon" / "hwmon3"
    sensor.mkdir(parents=True)
    for path, text in (
        (device / "vendor", "0x1002"),
        (device / "class", "0x030000"),
        (device / "mem_info_vram_total", str(16 * GIB)),
        (device / "mem_info_vram_used", str(6 * GIB)),
        (sensor / "temp1_input", "71000"),
        (sensor / "temp1_crit", "100000"),
    ):
        path.write_text(text + "\n")
    (card,) = [one for one in cards.look(tmp_path) if one.kind == "rocm"]
    assert (card.memory_bytes, card.free_bytes) == (16 * GIB, 10 * GIB)
    assert (card.celsius, card.limit_celsius) == (71, 100)


def test_a_driver_that_answers_half_is_no_fault(tmp_path: Path) -> None:
    """Noise in place of numbers is nothing told."""
    device = tmp_path / "card0" / "device"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x8086\n")
    (device / "class").write_text("0x030000\n")
    (device / "mem_info_vram_total").write_bytes(b"\xff\xfe")
    (card,) = [one for one in cards.look(tmp_path) if one.name == "Intel GPU"]
    assert (card.memory_bytes, card.free_bytes, card.celsius) == (0, 0, 0)
