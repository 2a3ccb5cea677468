"""Stops rbee and all that it started: asked first, then by signal, each process by name."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from rbee.edge.cgroups import place_of
from rbee.edge.config_file import load_settings
from rbee.edge.home import Home
from rbee.edge.home_processes import Found, processes_of, signal_all, still_there
from rbee.edge.worker_cgroup import left_over
from rbee.errors import RbeeError
from rbee.keeper.connection import Connection
from rbee.keeper.render import Screen
from rbee.settings import Settings

_SPARE_S = 5.0
"""Beyond the limits that the processes keep themselves."""

_KILL_S = 3.0
_ORPHANS_S = 10.0
_SCAN_S = 0.5
_POLL_S = 0.02


def stop_everything(home: Home, screen: Screen, *, drain_s: float | None = None) -> list[Found]:
    """End every process of this home and clean up after them; returns those that were found.

    Raises STOP_INCOMPLETE if one is left after SIGKILL.
    """
    root = str(home.root)
    found = processes_of(root)
    timing = _settings(home).timing
    asked = bool(found) and _ask(home, drain_s)
    drain = timing.drain_s if drain_s is None else min(drain_s, timing.drain_s)
    patience_s = drain + timing.end_streams_s + 2 * timing.term_s + _SPARE_S if asked else 0.0
    left = _wait(root, patience_s, screen)
    for number, within_s in ((signal.SIGTERM, timing.term_s), (signal.SIGKILL, _KILL_S)):
        if not left:
            break
        signal_all(left, number, root)
        left = _wait(root, within_s, screen, signalled=True)
    if left:
        raise RbeeError("STOP_INCOMPLETE", pids=[one.pid for one in left])
    remove(list(leavings(home)))
    screen.clear()
    return found


def hand_over(home: Home, screen: Screen) -> bool:
    """End rbee and its machine part and leave the workers to those that come; false if this rbee
    does not know how to (it is older than that), or did not do it in time."""
    root = str(home.root)
    body = {"keep_workers": True}
    try:
        Connection.of_home(home).open("POST", "/rbee/shutdown", body).close()
    except RbeeError:
        return False
    timing = _settings(home).timing
    until = time.monotonic() + timing.drain_s + timing.end_streams_s + timing.term_s + _SPARE_S
    while any(one.part in ("rbee", "machine") for one in processes_of(root)):
        if time.monotonic() > until:
            return False
        screen.live("stop", "the older rbee finishes what it answers")
        time.sleep(_SCAN_S)
    return True


def leavings(home: Home) -> Iterator[Path]:
    """Sockets, pid files, folders and control groups of workers that are there."""
    hive_socket = home.run / "hive.sock"
    for path in (
        home.admin_socket,
        home.control_socket,
        hive_socket,
        home.queen_file,
        home.hive_file,
    ):
        if path.exists() or path.is_symlink():
            yield path
    with suppress(OSError):
        yield from sorted(home.workers.iterdir())
    for group in left_over(str(home.workers), place_of("self")):
        yield from group.folders


def remove(paths: Iterable[Path]) -> None:
    """Files and folders that processes left."""
    for path in paths:
        if (path / "cgroup.procs").exists():
            # Files of the kernel: they go with their folder, and only with it.
            with suppress(OSError):
                path.rmdir()
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def end_processes(processes: Sequence[Found], home: Home, signals: Sequence[int]) -> None:
    """Signal just these, one signal after the other, until they are gone."""
    root = str(home.root)
    for number in signals:
        signal_all(processes, number, root)
        until = time.monotonic() + _KILL_S
        while any(still_there(one, root) for one in processes) and time.monotonic() < until:
            time.sleep(_POLL_S)


def _settings(home: Home) -> Settings:
    try:
        return load_settings(home)
    except RbeeError:
        # A broken rbee.toml must not keep anybody from stopping what runs.
        return Settings(home=str(home.root))


def _ask(home: Home, drain_s: float | None) -> bool:
    if not home.admin_socket.exists():
        return False
    try:
        body = {} if drain_s is None else {"drain_s": drain_s}
        Connection.of_home(home).begin("/rbee/shutdown", body)
    except RbeeError as error:
        # It may be stopping already; whatever else it says, its processes are ended by signal.
        return error.code == "SHUTTING_DOWN"
    return True


def _wait(root: str, within_s: float, screen: Screen, *, signalled: bool = False) -> list[Found]:
    """Who is left. Once rbee itself has gone, its machine gets `_ORPHANS_S` and no more; without
    either nobody will end the workers, so they are not waited for until they are signalled."""
    until = time.monotonic() + within_s
    alone_until = float("inf")
    while left := processes_of(root):
        parts = {one.part for one in left}
        if not signalled and not parts & {"rbee", "machine"}:
            return left
        if alone_until == float("inf") and "rbee" not in parts:
            alone_until = time.monotonic() + _ORPHANS_S
        look_again_at = min(until, alone_until, time.monotonic() + _SCAN_S)
        if time.monotonic() >= min(until, alone_until):
            return left
        while time.monotonic() < look_again_at and any(still_there(one, root) for one in left):
            screen.live("stop", f"rbee stops: {len(left)} processes are still finishing")
            time.sleep(_POLL_S)
    return []
