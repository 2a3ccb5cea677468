"""Promises about GPUs that are here and that the engine cannot use, told from a made-up /sys.

No GPU is on the machines that run this: `/sys/class/drm` is a folder with the kernel's own shape.
"""

from __future__ import annotations

from pathlib import Path

from rbee.edge.devices import ADVICE, all_devices
from rbee.wire.control import Device

CPU = Device(id="cpu", name="CPU")


def _card(drm: Path, name: str, vendor: str, kind: str = "0x030000", vram: str = "") -> None:
    device = drm / name / "device"
    device.mkdir(parents=True)
    (device / "vendor").write_text(vendor + "\n")
    (device / "class").write_text(kind + "\n")
    if vram:
        (device / "mem_info_vram_total").write_text(vram + "\n")


def test_idle_gpus_are_told_with_the_command_that_mends_it(tmp_path: Path) -> None:
    """An AMD and an Intel card beside a CPU engine are unusable, each with the advice."""
    _card(tmp_path, "card0", "0x1002", vram="8573157376")
    _card(tmp_path, "card1", "0x8086")
    _card(tmp_path, "card0-DP-1", "0x1002")
    found = all_devices((CPU,), tmp_path, tmp_path / "kfd")
    assert [device.id for device in found] == ["cpu", "rocm:0", "vulkan:0"]
    assert found[1].memory_bytes == 8573157376
    assert all(not one.usable and one.advice == ADVICE for one in found[1:])


def test_other_cards_are_not_gpus(tmp_path: Path) -> None:
    """A virtual display or a card that drives no display counts for nothing."""
    _card(tmp_path, "card0", "0x1af4")
    _card(tmp_path, "card1", "0x8086", kind="0x040300")
    assert all_devices((CPU,), tmp_path, tmp_path / "kfd") == (CPU,)


def test_compute_without_display_is_seen(tmp_path: Path) -> None:
    """An AMD accelerator shows itself by /dev/kfd alone."""
    (tmp_path / "kfd").touch()
    found = all_devices((CPU,), tmp_path / "drm", tmp_path / "kfd")
    assert [device.id for device in found] == ["cpu", "rocm:0"]


def test_an_engine_with_a_gpu_needs_no_advice(tmp_path: Path) -> None:
    """What the engine offers is what there is."""
    _card(tmp_path, "card0", "0x1002")
    offered = (CPU, Device(id="vulkan:0", name="AMD Radeon"))
    found = all_devices(offered, tmp_path, tmp_path / "kfd")
    assert [(one.id, one.usable, one.advice) for one in found] == [
        ("cpu", True, ""),
        ("vulkan:0", True, ""),
    ]
