"""Graphics cards of this machine: NVIDIA's by its own library, others by the kernel's /sys.

Both may be absent, and a driver may answer half: what cannot be read is not told. Nothing here
raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from rbee.policy.cards import AMD, INTEL, NVIDIA, Card
from rbee.wire.machine import Holder

DRM = Path("/sys/class/drm")
_VENDORS = {"0x1002": (AMD, "AMD GPU"), "0x8086": (INTEL, "Intel GPU")}
"""PCI vendor ids. NVIDIA's cards are asked of NVIDIA's library."""
_DISPLAY_CLASS = "0x03"
_NOT_TOLD = (1 << 64) - 1
"""NVIDIA's library where it does not know how much a process holds."""


def look(drm: Path = DRM) -> tuple[Card, ...]:
    """All cards, as they are now; some 5 ms, and a second where a driver has to wake up."""
    return (*_nvidia(), *_by_sysfs(drm))


# --- NVIDIA -------------------------------------------------------------------------------------


def _nvidia() -> list[Card]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_nvidia_card(pynvml, number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _nvidia_card(library: Any, number: int) -> Card:
    card = library.nvmlDeviceGetHandleByIndex(number)
    name = library.nvmlDeviceGetName(card)
    memory = library.nvmlDeviceGetMemoryInfo(card)

    def told(ask: Callable[..., Any], *arguments: object) -> int:
        """A figure that not every card has."""
        try:
            return int(ask(card, *arguments))
        except library.NVMLError:
            return 0

    return Card(
        kind=NVIDIA,
        name=name.decode() if isinstance(name, bytes) else str(name),
        memory_bytes=int(memory.total),
        free_bytes=int(memory.free),
        celsius=told(library.nvmlDeviceGetTemperature, library.NVML_TEMPERATURE_GPU),
        limit_celsius=told(
            library.nvmlDeviceGetTemperatureThreshold, library.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        ),
        holders=_holders(library, card),
    )


def _holders(library: Any, card: Any) -> tuple[Holder, ...]:
    """Programs that compute or draw on it; one that does both is told once."""
    held: dict[int, int] = {}
    for ask in (
        library.nvmlDeviceGetComputeRunningProcesses,
        library.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        try:
            found = ask(card)
        except library.NVMLError:
            continue
        for one in found:
            size_bytes = one.usedGpuMemory
            known = size_bytes is not None and size_bytes != _NOT_TOLD
            held[one.pid] = max(held.get(one.pid, 0), int(size_bytes) if known else 0)
    largest_first = sorted(held.items(), key=lambda item: -item[1])
    return tuple(Holder(pid, _name_of(pid), size_bytes) for pid, size_bytes in largest_first)


def _name_of(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "a process of another user"


# --- the kernel ---------------------------------------------------------------------------------


def _by_sysfs(drm: Path) -> Iterator[Card]:
    """AMD and Intel cards that the kernel drives (`cardN`; connectors are `cardN-…`)."""
    for card in sorted(drm.glob("card[0-9]*")):
        device = card / "device"
        kind_and_name = _VENDORS.get(_read(device / "vendor"))
        if "-" in card.name or kind_and_name is None:
            continue
        if not _read(device / "class").startswith(_DISPLAY_CLASS):
            continue
        total = _number(device / "mem_info_vram_total")
        celsius, limit = _heat(device)
        yield Card(
            kind=kind_and_name[0],
            name=kind_and_name[1],
            memory_bytes=total,
            free_bytes=max(0, total - _number(device / "mem_info_vram_used")),
            celsius=celsius,
            limit_celsius=limit,
        )


def _heat(device: Path) -> tuple[int, int]:
    """How hot it is and may become, in degrees; the kernel says thousandths."""
    for sensor in sorted(device.glob("hwmon/hwmon*")):
        if now := _number(sensor / "temp1_input"):
            return now // 1000, _number(sensor / "temp1_crit") // 1000
    return 0, 0


def _number(path: Path) -> int:
    text = _read(path)
    return int(text) if text.isdecimal() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
