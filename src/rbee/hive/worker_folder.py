"""The folder of one worker process under `run/workers/`: what its hive and the next hive need.

spec.json   what the process was told to run (0600; wire.lifeline)
key         its API key (0600), so that the next hive can take it back
birth.json  pid, start time and wish: proof of which process it is
log         its stdout and stderr; `log.old` is the part that was cut off when it grew too large
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from rbee.wire import lifeline
from rbee.wire.control import ModelWish
from rbee.wire.lifeline import WorkerSpec
from rbee.wire.unreadable import UNREADABLE

KEPT_LOGS = 20
"""Logs of dead workers that are kept for `rbee workers logs`."""

TAIL_BYTES = 64 << 10
"""Of a log, for finding the cause of a death."""

_KEPT_ON_CUT_BYTES = 1 << 20


class Birth(msgspec.Struct, frozen=True):
    """Which process runs here, and for which wish."""

    pid: int
    started_at: float
    """By `process_table.start_time`."""
    wish: ModelWish
    restarts: int = 0
    degraded: str = ""
    weights_bytes: int = 0
    own_bytes: int = 0
    """What it was thought to need of memory."""
    device_bytes: dict[str, int] = {}
    """The same of devices."""
    better: tuple[str, ...] = ()
    """Devices that it would rather run on."""


class WorkerFolder:
    """One folder; made by `create`, found again by `all_in`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, workers: Path, worker_id: str) -> WorkerFolder:
        """A new folder for this user only. Raises OSError."""
        path = workers / worker_id
        path.mkdir(mode=0o700, parents=True)
        (path / "tmp").mkdir(mode=0o700)
        return cls(path)

    @classmethod
    def all_in(cls, workers: Path) -> Iterator[WorkerFolder]:
        """The folders that an earlier hive left, oldest first."""
        for path in sorted(workers.iterdir(), key=lambda path: path.stat().st_mtime):
            if path.is_dir():
                yield cls(path)

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def temporary(self) -> Path:
        """Where its processes put temporary files: they go with the folder."""
        return self.path / "tmp"

    @property
    def mark(self) -> str:
        """In the environment of everything that this worker starts (`edge.strays`)."""
        return str(self.path)

    @property
    def spec_file(self) -> Path:
        return self.path / "spec.json"

    def write(self, spec: WorkerSpec, key: str) -> None:
        """What the process reads at its start, and its key. Raises OSError."""
        _write_private(self.spec_file, lifeline.encode(spec))
        _write_private(self.path / "key", key.encode())

    def write_birth(self, birth: Birth) -> None:
        _write_private(self.path / "birth.json", msgspec.json.encode(birth))

    def read(self) -> tuple[WorkerSpec, str, Birth] | None:
        """Everything that was written, or None if an end of the hive cut it short."""
        try:
            spec = lifeline.decode_spec(self.spec_file.read_bytes())
            key = (self.path / "key").read_text(encoding="ascii")
            birth = msgspec.json.decode((self.path / "birth.json").read_bytes(), type=Birth)
        except (OSError, *UNREADABLE):
            return None
        return spec, key, birth

    def tail(self) -> str:
        """The last part of the log, for finding a cause."""
        return _tail(self.log, TAIL_BYTES)

    def bound_log(self, limit_bytes: int) -> None:
        """Cut a log that grew over its limit; its last part stays in `log.old`.

        The process goes on appending to the same file, which begins anew.
        """
        try:
            if self.log.stat().st_size <= limit_bytes:
                return
            kept = _tail(self.log, min(_KEPT_ON_CUT_BYTES, limit_bytes // 2))
            _write_private(self.path / "log.old", kept.encode())
            os.truncate(self.log, 0)
        except OSError:
            # No room to keep the old part: the bound matters more.
            with suppress(OSError):
                os.truncate(self.log, 0)

    def retire(self, kept_logs: Path) -> None:
        """Remove the folder; its log goes to the kept ones. Never raises: there may be no room."""
        with suppress(OSError):
            kept_logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(self.log, kept_logs / f"{self.id}.log")
            _forget_old(kept_logs)
        shutil.rmtree(self.path, ignore_errors=True)


def last_lines(workers: Path, kept_logs: Path, worker_id: str, lines: int) -> list[str] | None:
    """The last lines of a living or dead worker's log; None if there is no such worker."""
    folder = workers / worker_id
    for parts in ((folder / "log.old", folder / "log"), (kept_logs / f"{worker_id}.log",)):
        if parts[-1].exists():
            text = "".join(_tail(part, 1 << 20) for part in parts)
            return text.splitlines()[-lines:] if lines > 0 else []
    return None


def _forget_old(kept_logs: Path) -> None:
    logs = sorted(kept_logs.glob("*.log"), key=lambda path: path.stat().st_mtime)
    for log in logs[:-KEPT_LOGS]:
        log.unlink(missing_ok=True)


def _tail(path: Path, size_bytes: int) -> str:
    try:
        with path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(0, end - size_bytes))
            return log.read(size_bytes).decode("utf-8", "replace")
    except OSError:
        return ""


def _write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, for this user only."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.replace(fresh, path)
