"""`rbee engine`: which engines there are, and which one runs the models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rbee.edge.config_file import chosen_engine_file, load_config
from rbee.edge.devices import all_devices
from rbee.edge.home import Home, default_home
from rbee.edge.private_file import write_private
from rbee.errors import RbeeError, human_bytes
from rbee.keeper.acts import write_down
from rbee.keeper.parsing import Parser, verbs
from rbee.keeper.render import Screen, put
from rbee.keeper.starting import cannot_write, status_of
from rbee.wire.audit import said_of
from rbee.wire.config import CHOSEN_ENGINE
from rbee.wire.control import Device

_DESCRIBE_S = 40.0


def run(command: str, arguments: Sequence[str]) -> int:
    does = {"list": _list, "use": _use}
    verb, rest = verbs(command, arguments, does)
    return does[verb](rest)


def _list(arguments: Sequence[str]) -> int:
    parser = Parser("engine list", "Engines here, their builds and devices.", remote=False)
    asked = parser.parse(arguments)
    chosen = load_config(Home(default_home())).settings.engine_path
    views = [describe("")]
    if chosen:
        views.append(describe(chosen))
    screen = Screen.on(sys.stderr)
    for view in views:
        used = view["path"] == chosen
        if asked.json:
            put({**view, "used": used})
            continue
        _print(view, screen, used=used)
    return 0


def _print(view: Mapping[str, Any], screen: Screen, *, used: bool) -> None:
    marks = screen.marks
    mark = marks.failed if view["problem"] else (marks.done if used else marks.happening)
    where = view["path"] or "built in"
    print(f"{mark} {view['kind']}   {view['build'] or '–'}   {where}{'   in use' if used else ''}")
    if view["problem"]:
        print(f"    {view['problem']}")
    for device in all_devices(msgspec.convert(view["devices"], tuple[Device, ...])):
        memory = f"   {human_bytes(device.memory_bytes)}" if device.memory_bytes else ""
        free = f", {human_bytes(device.free_bytes)} free" if device.free_bytes else ""
        unused = (
            "" if device.usable else f"   this engine cannot use it {marks.then} {device.advice}"
        )
        print(f"    {device.id:<10}{device.name}{memory}{free}{unused}")


def _use(arguments: Sequence[str]) -> int:
    parser = Parser(
        "engine use", "Run models on your own llama-server, or the built-in engine.", remote=False
    )
    parser.add_argument("path", metavar="PATH|default")
    asked = parser.parse(arguments)
    home = Home(default_home())
    screen = Screen.on(sys.stderr, json=asked.json)
    path = "" if asked.path == "default" else os.path.abspath(Path(asked.path).expanduser())
    view = describe(path)
    if view["problem"]:
        raise RbeeError("ENGINE_MISSING", problem=f"{asked.path}: {view['problem']}")
    _store(home, path)
    write_down(home, "engine/use", said_of({"what": path or "default"}))
    if asked.json:
        put({"used": view})
        return 0
    screen.mark("done", f"{view['kind']} {view['build']} runs models from now on")
    config = load_config(home)
    origin = config.origin("engine.path")
    if config.settings.engine_path != path and origin != CHOSEN_ENGINE:
        screen.mark("other", f"engine.path of {origin} is {config.settings.engine_path} and wins")
    if status_of(home) is not None:
        screen.line("  What runs now keeps its engine until rbee starts again.")
        screen.line(f"  {screen.marks.then} rbee down   then   rbee up --detach")
    return 0


def _store(home: Home, path: str) -> None:
    try:
        home.prepare()
        if path:
            write_private(chosen_engine_file(home), path.encode("utf-8", "surrogateescape") + b"\n")
        else:
            chosen_engine_file(home).unlink(missing_ok=True)
    except OSError as exc:
        raise cannot_write(exc, chosen_engine_file(home)) from exc


def describe(path: str) -> dict[str, Any]:
    """What an engine says of itself, asked in a process of its own: a driver may crash it."""
    argv = [sys.executable, "-m", "rbee.worker", "--describe", *([path] if path else [])]
    view: dict[str, Any] = {
        "kind": "llama-server" if path else "llama-cpp",
        "build": "",
        "path": path,
        "devices": [],
        "problem": "it does not say what it is",
    }
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_DESCRIBE_S,
            check=False,
        )
        view.update(json.loads(done.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        view["problem"] = f"it did not answer within {_DESCRIBE_S:.0f} s"
    except (IndexError, ValueError, OSError):
        view["problem"] = "it could not be asked"
    return view
