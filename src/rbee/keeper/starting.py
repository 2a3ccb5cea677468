"""Starts rbee in the background and waits until it is ready; told once if several ask at a time."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbee.edge.config_file import load_settings
from rbee.edge.home import Home
from rbee.edge.log_file import open_log
from rbee.errors import RbeeError, Report, Retry
from rbee.keeper.connection import Connection, mismatch
from rbee.keeper.render import Screen, safe
from rbee.policy.access import may_bind
from rbee.settings import Settings
from rbee.version import VERSION

if TYPE_CHECKING:
    import subprocess

START_WITHIN_S = 30.0
"""For rbee to answer; it takes about 0.4 s, and this machine may be busy."""

_POLL_S = 0.01
_LOG_TAIL_BYTES = 64 << 10
_MARK = "RBEE_OF"


def status_of(home: Home) -> dict[str, Any] | None:
    """What the rbee of this home says of itself; None if none answers."""
    if not home.admin_socket.exists():
        return None
    try:
        found = Connection.of_home(home).get("/rbee/status")
    except RbeeError as error:
        if error.code in ("NOT_RUNNING", "CONNECTION_LOST", "SHUTTING_DOWN"):
            return None
        raise
    return dict(found)


def ensure_up(
    home: Home, screen: Screen, flags: Mapping[str, str], *, first_run: bool = False
) -> tuple[dict[str, Any], subprocess.Popen[bytes] | None]:
    """rbee's status once it is ready, and its process if this call started it.

    Raises CONFIG_INVALID, BIND_REFUSED, KEYS_DAMAGED, PORT_TAKEN, START_FAILED, VERSION_MISMATCH.
    """
    settings = load_settings(home, flags)
    if not may_bind(settings.host, keys=0):
        check_access(home, settings)
    prepare(home)
    with lock(home, screen):
        status = settled(home)
        if status is None and home.restore_pending.exists():
            from rbee.edge.backup_files import go_on

            go_on(home)
        if status is not None and status["version"] != VERSION:
            _replace_older(home, status, screen)
            status = None
        if status is not None and status["ready"]:
            return status, None
        if first_run and status is None:
            news = "rbee starts in the background and stays up (rbee down stops it)"
            screen.mark("happening", news)
        process = None if status is not None else _spawn(home, flags)
        return _until_ready(home, process, screen), process


def check_access(home: Home, settings: Settings) -> None:
    """Raises BIND_REFUSED, KEYS_DAMAGED: why rbee would not listen where it is told to."""
    from rbee.edge.key_file import KeyFile

    found = KeyFile(home.keys_file)
    found.load()
    if not may_bind(settings.host, keys=len(found.records)):
        raise RbeeError("BIND_REFUSED", host=settings.host)


@contextmanager
def lock(home: Home, screen: Screen) -> Iterator[None]:
    """Held by whoever starts or stops the rbee of this home; others wait their turn."""
    import fcntl

    path = home.run / "up.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise cannot_write(exc, path) from exc
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                screen.live("lock", "another rbee command starts or stops it")
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def cannot_write(exc: OSError, path: Path) -> RbeeError:
    """What a failed write to RBEE_HOME means."""
    import errno

    if exc.errno == errno.EROFS:
        return RbeeError("DISK_READ_ONLY", path=str(path))
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return RbeeError("DISK_FULL", needed_bytes=4096, free_bytes=0, path=str(path))
    if exc.errno in (errno.EACCES, errno.EPERM):
        return RbeeError("DISK_PERMISSION", act="write to", path=str(path))
    if exc.errno in (errno.EEXIST, errno.ENOTDIR, errno.ENOENT, errno.ENAMETOOLONG):
        problem = f"{path} is no folder, and none can be made there ({exc.strerror})"
        return RbeeError("CONFIG_INVALID", where="RBEE_HOME", problem=problem)
    return RbeeError("DISK_IO", act=f"write to {path}", problem=exc.strerror or str(exc))


def prepare(home: Home) -> None:
    """The folders of RBEE_HOME. Raises DISK_*, CONFIG_INVALID."""
    try:
        home.prepare()
    except OSError as exc:
        raise cannot_write(exc, home.root) from exc


def settled(home: Home) -> dict[str, Any] | None:
    """The status of an rbee that runs; one that is just ending is waited for."""
    until = time.monotonic() + START_WITHIN_S
    while True:
        status = status_of(home)
        if status is not None or not _held(home.run / "queen.lock"):
            return status
        if time.monotonic() > until:
            raise RbeeError("START_FAILED", problem="an earlier rbee lives and does not answer")
        time.sleep(0.05)


def _held(path: Path) -> bool:
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _replace_older(home: Home, status: Mapping[str, Any], screen: Screen) -> None:
    """A newer rbee takes over from an older one. Raises VERSION_MISMATCH if this is the older."""
    running = str(status["version"])
    if _order(running) > _order(VERSION):
        raise mismatch(running)
    from rbee.keeper.stopping import hand_over, stop_everything

    if hand_over(home, screen):
        screen.mark(
            "other", f"rbee {running} was running; {VERSION} takes over, models stay loaded"
        )
        return
    screen.mark("other", f"rbee {running} was running; it is stopped and {VERSION} starts")
    stop_everything(home, screen)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split("."))


def _spawn(home: Home, flags: Mapping[str, str]) -> subprocess.Popen[bytes]:
    import subprocess  # whoever finds an rbee that runs starts nothing

    environment = {**os.environ, "RBEE_HOME": str(home.root), _MARK: str(home.root)}
    environment.pop("RBEE_KEY", None)  # the key to another rbee is nothing to this one's children
    environment.update({f"RBEE_{name.upper()}": value for name, value in flags.items()})
    path = home.logs / "queen.log"
    try:
        log = open_log(path)
    except OSError as exc:
        raise cannot_write(exc, path) from exc
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "rbee.queen"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=str(home.root),
            start_new_session=True,
        )
    finally:
        os.close(log)


def _until_ready(
    home: Home, process: subprocess.Popen[bytes] | None, screen: Screen
) -> dict[str, Any]:
    until = time.monotonic() + START_WITHIN_S
    status: dict[str, Any] | None = None
    while time.monotonic() < until:
        if process is not None and process.poll() is not None:
            raise _why_not(home, process.returncode)
        if home.queen_file.exists():
            status = status_of(home)
            if status is not None and status.get("problem"):
                raise _told(home, status)
            if status is not None and status["ready"]:
                screen.clear()
                return status
        screen.live("start", "rbee starts")
        time.sleep(_POLL_S)
    problem = f"it was not ready after {START_WITHIN_S:.0f} s"
    raise RbeeError("START_FAILED", problem=_with_log(home, problem))


def _told(home: Home, status: Mapping[str, Any]) -> RbeeError:
    if status["problem"] == "VERSION_MISMATCH":
        report = Report("VERSION_MISMATCH", str(status["message"]), "rbee down   then   rbee up")
        return RbeeError.from_report(report)
    return RbeeError("START_FAILED", problem=f"{status['message']}")


def _why_not(home: Home, returncode: int) -> RbeeError:
    """The problem that it wrote as its last line, else the end of its log."""
    lines = log_tail(home.logs / "queen.log")
    try:
        said = json.loads(lines[-1])["problem"]
        known = {retry.value: retry for retry in Retry}
        return RbeeError.from_report(
            Report(
                code=said["code"],
                message=said["message"],
                action=said["action"],
                means=said["means"],
                status=said["status"],
                exit=said["exit"],
                retry=known.get(said["retry"], Retry.NEVER),
                details=said["details"],
            )
        )
    except (IndexError, KeyError, TypeError, ValueError):
        problem = f"it ended with {returncode}"
        return RbeeError("START_FAILED", problem=_with_log(home, problem))


def _with_log(home: Home, problem: str) -> str:
    return problem + last_words(home)


def last_words(home: Home) -> str:
    """The end of rbee's log for a screen: what was said, without the lines of a traceback."""
    lines = [line for line in log_tail(home.logs / "queen.log")[-40:] if line.strip()]
    said = [line for line in lines if not line.startswith((" ", "Traceback", "{"))]
    return "".join(f"\n    {safe(line)[:300]}" for line in said[-2:])


def log_tail(path: Path) -> list[str]:
    """The last lines of a log; none if it cannot be read."""
    try:
        with path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(0, end - _LOG_TAIL_BYTES))
            return log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
