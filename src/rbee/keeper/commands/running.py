"""`rbee up` and `rbee down`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

from rbee.edge.dial_file import DialFile
from rbee.edge.home import Home, default_home
from rbee.errors import RbeeError
from rbee.keeper.connection import Connection
from rbee.keeper.exits import INTERRUPTED
from rbee.keeper.parsing import Parser, port_flag, time_flag
from rbee.keeper.render import Screen, put
from rbee.keeper.starting import ensure_up, last_words, lock
from rbee.keeper.stopping import stop_everything


def run(command: str, arguments: Sequence[str]) -> int:
    return _up(arguments) if command == "up" else _down(arguments)


class _Asked(BaseException):
    """SIGTERM: stop what was started and end well."""


def _up(arguments: Sequence[str]) -> int:
    parser = Parser("up", "Start rbee; without --detach stay attached until Ctrl-C.", remote=False)
    parser.add_argument("--detach", action="store_true", help="return when it is ready")
    parser.add_argument("--host", help="default: 127.0.0.1")
    parser.add_argument("--port", type=port_flag, help="default: 7833; 0 picks a free one")
    asked = parser.parse(arguments)
    flags = {name: getattr(asked, name) for name in ("host", "port") if getattr(asked, name)}
    home = Home(default_home())
    screen = Screen.on(sys.stderr, json=asked.json)
    DialFile(home).clear()
    status, process = ensure_up(home, screen, flags)
    if process is None:
        # What `rbee stop --all` sent to rest comes back.
        Connection.of_home(home).post("/rbee/resume", {})

    def tell() -> None:
        if asked.json:
            put({"url": status["url"], "pid": status["pid"], "started": process is not None})
        elif process is None:
            screen.mark("done", f"rbee {status['version']} is already running on {status['url']}")
            _tell_other_port(status, flags, screen)
        else:
            screen.mark("done", f"rbee {status['version']} answers on {status['url']}")

    if asked.detach or process is None:
        tell()
        return 0
    return _stay(home, process, screen, tell)


def _tell_other_port(status: Mapping[str, Any], flags: Mapping[str, str], screen: Screen) -> None:
    port = flags.get("port", "0")
    if port != "0" and not str(status["url"]).endswith(f":{port}"):
        screen.mark("other", f"it does not listen on port {port}")
        screen.line(f"  {screen.marks.then} rbee down   then   rbee up --port {port}")


def _stay(
    home: Home, process: subprocess.Popen[bytes], screen: Screen, tell: Callable[[], None]
) -> int:
    """Until rbee ends or a signal comes. `tell` says that rbee is up: whoever reads it may press
    Ctrl-C at once, so it is said when that is understood already."""

    def asked(number: int, frame: FrameType | None) -> None:
        raise _Asked

    signal.signal(signal.SIGTERM, asked)
    try:
        tell()
        returncode = process.wait()
    except KeyboardInterrupt:
        _stop(home, screen)
        return INTERRUPTED
    except _Asked:
        _stop(home, screen)
        return 0
    if returncode == 0:
        return 0
    problem = f"it ended with {returncode}{last_words(home)}"
    raise RbeeError("START_FAILED", problem=problem)


def _stop(home: Home, screen: Screen) -> None:
    """What a second Ctrl-C cuts short, `rbee down` does again."""
    with lock(home, screen):
        stop_everything(home, screen)
    screen.mark("done", "rbee is stopped")


def _down(arguments: Sequence[str]) -> int:
    parser = Parser("down", "Stop rbee and everything that it started.", remote=False)
    parser.add_argument("--within", type=time_flag, metavar="TIME", help="for running answers")
    asked = parser.parse(arguments)
    home = Home(default_home())
    screen = Screen.on(sys.stderr, json=asked.json)
    if not home.run.exists():
        return _stopped(0, screen, json=asked.json)
    with lock(home, screen):
        found = stop_everything(home, screen, drain_s=asked.within)
    return _stopped(len(found), screen, json=asked.json)


def _stopped(count: int, screen: Screen, *, json: bool) -> int:
    if json:
        put({"stopped": count})
    elif count:
        screen.mark("done", f"rbee is stopped ({count} processes)")
    else:
        screen.mark("done", "rbee is not running")
    return 0
