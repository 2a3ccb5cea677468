"""Sizes and times as people write them in the configuration: `512MiB`, `5m`."""

from __future__ import annotations

import math
import re

_AMOUNT = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$")

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_BYTES = {
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}


def parse_time_s(text: str, *, bare: bool = False) -> float:
    """`"5m"` → 300. `bare`: a number without unit counts as seconds. Raises ValueError."""
    amount, unit = _split(text)
    if not unit and (bare or amount == 0):
        return amount
    if unit not in _SECONDS:
        raise ValueError('is not a time with a unit, such as "30s", "5m" or "2h"')
    return _finite(amount * _SECONDS[unit])


def parse_size_bytes(text: str, *, bare: bool = False) -> int:
    """`"512MiB"` → 536870912. `bare`: a number without unit counts as bytes. Raises ValueError."""
    amount, unit = _split(text)
    if not unit and (bare or amount == 0):
        return int(amount)
    if unit.lower() not in _BYTES:
        raise ValueError('is not a size with a unit, such as "512MiB" or "20GB"')
    return int(_finite(amount * _BYTES[unit.lower()]))


def write_time(seconds: float) -> str:
    """The shortest way to write it: 300 → `5m`, 0.2 → `200ms`, 2.5 → `2.5s`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    if 0 < seconds < 1 and round(seconds * 1000, 6).is_integer():
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:g}s"


def write_size(size_bytes: int) -> str:
    """The shortest exact way to write it: 1073741824 → `1GiB`, 1000 → `1000B`."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"


def _split(text: str) -> tuple[float, str]:
    found = _AMOUNT.match(text)
    if found is None:
        raise ValueError("is not an amount with a unit")
    return _finite(float(found.group(1))), found.group(2)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("is too large")
    return value
