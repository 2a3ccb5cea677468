"""`rbee service install | remove | show`: have systemd start rbee for this user, so that what is
served comes back after a reboot without a word."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rbee.edge.config_file import load_settings
from rbee.edge.home import Home, default_home
from rbee.errors import RbeeError
from rbee.keeper.acts import write_down
from rbee.keeper.parsing import Parser, verbs
from rbee.keeper.render import Screen, put
from rbee.keeper.starting import cannot_write, prepare, status_of
from rbee.wire.service_unit import MARK, unit

_ASK_S = 30.0
_SPARE_S = 30


def run(command: str, arguments: Sequence[str]) -> int:
    does = {"install": _install, "remove": _remove, "show": _show}
    verb, rest = verbs(command, arguments, does)
    return does[verb](rest)


def _show(arguments: Sequence[str]) -> int:
    parser = Parser("service show", "The unit as it would be, and where.", remote=False)
    asked = parser.parse(arguments)
    home = Home(default_home())
    path, text = _place(home), _text(home)
    if asked.json:
        put({"file": str(path), "installed": _is_ours(path), "unit": text})
        return 0
    print(text, end="")
    screen = Screen.on(sys.stderr)
    if _is_ours(path):
        screen.mark("done", f"installed as {path}")
    else:
        screen.mark("happening", f"not installed; it would be {path}")
        screen.line(f"  {screen.marks.then} rbee service install")
    return 0


def _install(arguments: Sequence[str]) -> int:
    parser = Parser("service install", "Have systemd start rbee at your login.", remote=False)
    asked = parser.parse(arguments)
    home = Home(default_home())
    screen = Screen.on(sys.stderr, json=asked.json)
    path, text = _place(home), _text(home)
    if path.exists() and not _is_ours(path):
        problem = f"{path} is there, and was not written by rbee"
        raise RbeeError("SERVICE_UNAVAILABLE", problem=problem)
    _systemctl("--version")
    prepare(home)
    runs = status_of(home) is not None
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    _write(path, text)
    try:
        _systemctl("daemon-reload")
        _systemctl("enable", *([] if runs else ["--now"]), path.name)
    except RbeeError:
        _write(path, before)
        raise
    write_down(home, "service/install", path.name)
    if asked.json:
        put({"file": str(path), "started": not runs})
        return 0
    screen.mark("done", f"{path.name} is installed: rbee starts when you log in")
    screen.line(f"  {screen.marks.then} loginctl enable-linger   (to start at boot already)")
    if runs:
        screen.mark("other", "rbee runs already, outside of the service")
        screen.line(f"  {screen.marks.then} rbee down   then   systemctl --user start {path.name}")
    for name in sorted(os.environ):
        if name.startswith("RBEE_") and name not in ("RBEE_HOME", "RBEE_URL", "RBEE_KEY"):
            screen.mark("other", f"{name} of this shell does not hold there: see rbee config show")
    return 0


def _remove(arguments: Sequence[str]) -> int:
    parser = Parser("service remove", "Have systemd leave rbee alone again.", remote=False)
    asked = parser.parse(arguments)
    home = Home(default_home())
    screen = Screen.on(sys.stderr, json=asked.json)
    path = _place(home)
    there = _is_ours(path)
    if there:
        _systemctl("disable", "--now", path.name)
        _write(path, "")
        _systemctl("daemon-reload")
        write_down(home, "service/remove", path.name)
    if asked.json:
        put({"file": str(path), "removed": there})
        return 0
    screen.mark(
        "done", f"{path.name} is removed" if there else "no service of this rbee is installed"
    )
    return 0


def _place(home: Home) -> Path:
    """A home that is not the usual one has a service of its own."""
    configuration = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    own = hashlib.sha256(str(home.root).encode()).hexdigest()[:8]
    usual = Path.home() / ".local" / "share" / "rbee"
    name = "rbee.service" if home.root == usual else f"rbee-{own}.service"
    return Path(configuration) / "systemd" / "user" / name


def _text(home: Home) -> str:
    """Raises USAGE for a home that no unit can name, CONFIG_INVALID."""
    timing = load_settings(home).timing
    stop_s = timing.drain_s + timing.end_streams_s + 2 * timing.term_s
    command = [sys.executable, "-m", "rbee.keeper", "up"]
    try:
        return unit(home=str(home.root), command=command, stop_s=int(stop_s) + _SPARE_S)
    except ValueError as exc:
        raise RbeeError("USAGE", problem=str(exc)) from exc


def _write(path: Path, text: str) -> None:
    """Empty: it shall not be there."""
    try:
        if not text:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise cannot_write(exc, path) from exc


def _is_ours(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8").startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False


def _systemctl(*words: str) -> None:
    """Raises SERVICE_UNAVAILABLE with what it says."""
    try:
        done = subprocess.run(
            ["systemctl", "--user", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_S,
            check=False,
        )
    except FileNotFoundError as exc:
        problem = "there is no systemctl, so this machine has no systemd"
        raise RbeeError("SERVICE_UNAVAILABLE", problem=problem) from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise RbeeError("SERVICE_UNAVAILABLE", problem=f"systemctl: {exc}") from exc
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:300]
        problem = f"systemctl --user {words[0]}: {said or f'exit code {done.returncode}'}"
        raise RbeeError("SERVICE_UNAVAILABLE", problem=problem)
