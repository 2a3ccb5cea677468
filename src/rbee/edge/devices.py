"""Which devices this machine has, and which of them the engine can use.

Devices of the engine are what its description says. GPUs that are here and that it does not offer
are found beside it, by NVIDIA's management library and by what the kernel shows in /sys, so that a
GPU that lies idle is told with the command that mends it. Everything is asked lazily and may be
absent; nothing here raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rbee.wire.control import Device

ADVICE = "rbee engine use PATH"
_DRM = Path("/sys/class/drm")
_KFD = Path("/dev/kfd")
_VENDORS = {"0x1002": ("rocm", "AMD GPU"), "0x8086": ("vulkan", "Intel GPU")}
"""PCI vendor ids. NVIDIA's cards are asked of NVIDIA's library, which knows name and memory."""
_DISPLAY_CLASS = "0x03"


def all_devices(
    offered: Sequence[Device], drm: Path = _DRM, kfd: Path = _KFD
) -> tuple[Device, ...]:
    """The engine's devices, then the GPUs that it cannot use."""
    kinds = {device.id.partition(":")[0] for device in offered}
    if kinds - {"cpu"}:
        return tuple(offered)
    return (*offered, *_nvidia(), *_by_sysfs(drm, kfd))


def _nvidia() -> list[Device]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_nvidia_card(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _nvidia_card(library: object, index: int) -> Device:
    ask = library.__dict__
    card = ask["nvmlDeviceGetHandleByIndex"](index)
    memory = ask["nvmlDeviceGetMemoryInfo"](card)
    name = ask["nvmlDeviceGetName"](card)
    return Device(
        id=f"cuda:{index}",
        name=name.decode() if isinstance(name, bytes) else str(name),
        memory_bytes=int(memory.total),
        free_bytes=int(memory.free),
        usable=False,
        advice=ADVICE,
    )


def _by_sysfs(drm: Path, kfd: Path) -> list[Device]:
    """AMD and Intel cards that the kernel drives (`cardN`; connectors are `cardN-…`)."""
    found: list[Device] = []
    counts: dict[str, int] = {}
    for card in sorted(drm.glob("card[0-9]*")):
        kind_and_name = _VENDORS.get(_read(card / "device" / "vendor"))
        if "-" in card.name or kind_and_name is None:
            continue
        if not _read(card / "device" / "class").startswith(_DISPLAY_CLASS):
            continue
        kind, name = kind_and_name
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        memory = _read(card / "device" / "mem_info_vram_total")
        found.append(
            Device(
                id=f"{kind}:{number}",
                name=name,
                memory_bytes=int(memory) if memory.isdigit() else 0,
                usable=False,
                advice=ADVICE,
            )
        )
    if kfd.exists() and "rocm" not in counts:
        found.append(Device(id="rocm:0", name="AMD GPU", usable=False, advice=ADVICE))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
