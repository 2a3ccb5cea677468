"""NVIDIA's management library as a double: a table of cards, told by the library's functions."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml_double.c")


@dataclass(frozen=True)
class NvidiaCard:
    """A line of the table."""

    name: str
    total_bytes: int
    free_bytes: int
    celsius: int = 40
    limit_celsius: int = 0
    holders: tuple[tuple[int, int], ...] = ()
    """Pids, and what each holds."""


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def install(folder: Path) -> dict[str, str]:
    """Compile it; gives the environment in which programs find it. Asks for a compiler."""
    program = compiler()
    assert program is not None
    folder.mkdir(exist_ok=True)
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([program, "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    return {"LD_LIBRARY_PATH": str(folder), "NVML_TABLE": str(folder / "table")}


def write(folder: Path, *cards: NvidiaCard) -> None:
    """What the library tells from now on."""
    lines = []
    for one in cards:
        holders = " ".join(f"{pid}:{size}" for pid, size in one.holders)
        facts = (one.name, one.total_bytes, one.free_bytes, one.celsius, one.limit_celsius, holders)
        lines.append("|".join(map(str, facts)) + "\n")
    fresh = folder / "table.new"
    fresh.write_text("".join(lines))
    fresh.rename(folder / "table")
