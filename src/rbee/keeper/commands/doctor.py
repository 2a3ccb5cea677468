"""`rbee doctor`: looks for what is wrong here; `--fix` ends and removes what rbee left behind."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rbee.edge.config_file import load_config
from rbee.edge.home import Home, default_home
from rbee.edge.home_processes import Found, processes_of
from rbee.edge.key_file import KeyFile
from rbee.errors import RbeeError, human_bytes
from rbee.keeper.parsing import Parser
from rbee.keeper.render import Screen, duration, put
from rbee.keeper.starting import lock, status_of
from rbee.keeper.stopping import end_processes, leavings, remove
from rbee.policy.access import is_loopback
from rbee.policy.keys import state
from rbee.settings import Settings
from rbee.version import VERSION


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: how it is (`done`, `other`, `failed`), about what, and what to type."""

    mark: str
    about: str
    says: str
    do: str = ""
    processes: tuple[Found, ...] = ()
    paths: tuple[Path, ...] = field(default=())


def run(command: str, arguments: Sequence[str]) -> int:
    """1 if something is wrong, 0 otherwise (warnings included)."""
    parser = Parser("doctor", "Look for what is wrong here.", remote=False)
    parser.add_argument("--fix", action="store_true", help="end and remove what was left behind")
    asked = parser.parse(arguments)
    home = Home(default_home())
    screen = Screen.on(sys.stderr, json=asked.json)
    findings = list(examine(home))
    if asked.fix:
        findings = _fixed(home, findings, screen)
    _tell(findings, screen, json=asked.json)
    return 1 if any(one.mark == "failed" for one in findings) else 0


def examine(home: Home) -> Iterator[Finding]:
    """Every finding; nothing is changed."""
    settings, finding = _config(home)
    yield finding
    status: Mapping[str, Any] | None
    try:
        status = status_of(home)
    except RbeeError as error:
        status = None
        yield Finding("failed", "rbee", str(error), error.report.action)
    yield from _rbee(status)
    yield from _leftovers(home, status)
    if status is not None:
        yield from _gpus(status)
    yield _disk(home, settings)
    yield from _models(home, status)
    yield _network(home, settings, status)


def _config(home: Home) -> tuple[Settings, Finding]:
    try:
        config = load_config(home)
    except RbeeError as error:
        return Settings(str(home.root)), Finding(
            "failed", "config", error.report.message, error.report.action
        )
    if config.unknown_variables:
        names = ", ".join(config.unknown_variables)
        return config.settings, Finding(
            "other", "config", f"{names} set nothing", "rbee config check"
        )
    said = ", ".join(sorted(config.origins))
    says = f"read; set: {said}" if said else "nothing set, the defaults hold"
    return config.settings, Finding("done", "config", says)


def _network(home: Home, settings: Settings, status: Mapping[str, Any] | None) -> Finding:
    """Who can call: this machine or others too, and whether any key lets them in."""
    file = KeyFile(home.keys_file)
    try:
        file.load()
    except RbeeError as error:
        return Finding("failed", "network", error.report.message, "rbee keys list")
    now = time.time()
    valid = sum(state(one, now) == "valid" for one in file.records.values())
    host = settings.host if status is None else urlsplit(status["url"]).hostname or ""
    pages = "web pages from elsewhere are refused"
    if not file.records:
        if is_loopback(host):
            return Finding("done", "network", f"this machine only; {pages}")
        return Finding("failed", "network", f"{host} needs a key first", "rbee keys create")
    where = "this machine only" if is_loopback(host) else f"others reach it at {host}"
    if not valid:
        return Finding("failed", "network", f"{where}, but no key is valid", "rbee keys create")
    return Finding("done", "network", f"{where}, with a key ({valid} valid); {pages}")


def _rbee(status: Mapping[str, Any] | None) -> Iterator[Finding]:
    if status is None:
        yield Finding("done", "rbee", f"{VERSION}, not running", "rbee up --detach")
        return
    if status["version"] != VERSION:
        says = f"{status['version']} runs, this command is {VERSION}"
        yield Finding("failed", "rbee", says, "rbee down   then   rbee up --detach")
    elif not status["ready"]:
        says = status.get("message") or "the part that looks after workers does not answer"
        yield Finding("failed", "rbee", str(says), "rbee logs")
    else:
        yield Finding("done", "rbee", f"{VERSION} answers on {status['url']}")
    engine = status.get("engine")
    if engine and engine.get("problem"):
        says = f"{engine['kind']}: {engine['problem']}"
        yield Finding("failed", "engine", says, "rbee engine list   or   rbee engine use default")
    elif engine:
        yield Finding("done", "engine", f"{engine['kind']} {engine['build']}")


def _leftovers(home: Home, status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Processes and files that no running rbee owns."""
    processes = processes_of(str(home.root))
    strays = processes if status is None else _strays(home, status, processes)
    if strays:
        what = ", ".join(f"{one.part} {one.name} pid {one.pid}" for one in strays)
        held = human_bytes(sum(one.memory_bytes for one in strays))
        says = f"{what}: nobody looks after them; {held} held"
        yield Finding("failed", "leftover", says, "rbee doctor --fix", processes=tuple(strays))
    paths = () if status is not None or processes else tuple(leavings(home))
    if paths:
        names = ", ".join(_short(path, home) for path in paths)
        yield Finding("failed", "leftover", f"files: {names}", "rbee doctor --fix", paths=paths)
    if not strays and not paths:
        yield Finding("done", "leftover", "no process, socket or file without an owner")


def _short(path: Path, home: Home) -> str:
    inside = path.is_relative_to(home.root)
    return str(path.relative_to(home.root)) if inside else f"control group {path.name}"


def _strays(home: Home, status: Mapping[str, Any], processes: Sequence[Found]) -> list[Found]:
    """Processes that are neither rbee, nor its machine part, nor below it."""
    from rbee.edge.home_processes import ancestors

    machine = (status.get("hive") or {}).get("pid")
    owned = {status["pid"], machine}
    known = _folder_pids(home)
    return [
        one
        for one in processes
        if one.pid not in owned
        and not (ancestors(one.pid) & {pid for pid in owned if pid})
        and not ({one.pid} | ancestors(one.pid)) & known
    ]


def _folder_pids(home: Home) -> set[int]:
    """Pids of workers that have a folder: the machine part knows them, also those it took back."""
    import json

    found: set[int] = set()
    for path in home.workers.glob("*/birth.json"):
        try:
            found.add(int(json.loads(path.read_bytes())["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _gpus(status: Mapping[str, Any]) -> Iterator[Finding]:
    for device in status.get("devices") or ():
        if not device["usable"]:
            says = f"{device['name']} unused: this engine cannot use it"
            yield Finding("other", "gpu", says, device["advice"])
        elif device["id"] != "cpu":
            yield _gpu(device)


def _gpu(device: Mapping[str, Any]) -> Finding:
    """One that the engine can use: whether it rests or is hot, and who holds its memory."""
    says = f"{device['id']} {device['name']}"
    if device["memory_bytes"]:
        free, whole = human_bytes(device["free_bytes"]), human_bytes(device["memory_bytes"])
        says += f", {free} of {whole} free"
    held = [
        f"{one['name']} (pid {one['pid']})"
        + (f" {human_bytes(one['held_bytes'])}" if one["held_bytes"] else "")
        for one in device["holders"]
    ]
    says += f"; held by {', '.join(held)}" if held else ""
    if device["rests"]:
        again = f"looked for again in {duration(max(0.0, device['rests_until'] - time.time()))}"
        return Finding("other", "gpu", f"{says}; rests, {again}: {device['rests']}", "rbee events")
    if device["hot"]:
        return Finding("other", "gpu", f"{says}; too hot: {device['celsius']} °C", "rbee events")
    return Finding("done", "gpu", says)


def _disk(home: Home, settings: Settings) -> Finding:
    folder = Path(settings.models_dir or home.models)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError as exc:
        return Finding("failed", "disk", f"{folder}: {exc.strerror}")
    reserve = settings.limits.disk_reserve_bytes
    says = f"{human_bytes(usage.free)} free at {folder}, {human_bytes(reserve)} of it reserved"
    if usage.free <= reserve:
        return Finding("failed", "disk", f"{says}: nothing can be pulled", "rbee models rm MODEL")
    if usage.free - reserve < 2 << 30:
        left = human_bytes(usage.free - reserve)
        return Finding(
            "other", "disk", f"{says}: pulls over {left} are refused", "rbee models list"
        )
    return Finding("done", "disk", says)


def _models(home: Home, status: Mapping[str, Any] | None) -> Iterator[Finding]:
    if status is None:
        return
    from rbee.keeper.connection import Connection

    try:
        models = Connection.of_home(home).get("/rbee/models")["models"]
    except RbeeError as error:
        yield Finding("failed", "models", str(error))
        return
    gone = [one["name"] for one in models if one.get("path") and not Path(one["path"]).exists()]
    for name in gone:
        yield Finding("failed", "models", f"the file of {name} is gone", f"rbee models rm {name}")
    size = human_bytes(sum(one["size_bytes"] for one in models))
    if not gone:
        yield Finding("done", "models", f"{len(models)} stored, {size}")


def _fixed(home: Home, findings: Sequence[Finding], screen: Screen) -> list[Finding]:
    """End and remove what was found; names each thing before it acts, then looks again."""
    broken = [one for one in findings if one.processes or one.paths]
    if not broken:
        return list(findings)
    with lock(home, screen):
        for finding in broken:
            for process in finding.processes:
                screen.mark("happening", f"ending {process.part} {process.name} pid {process.pid}")
            for path in finding.paths:
                screen.mark("happening", f"removing {path}")
            end_processes(finding.processes, home, (signal.SIGTERM, signal.SIGKILL))
            remove(finding.paths)
        if status_of(home) is None and not processes_of(str(home.root)):
            remove(list(leavings(home)))
    return list(examine(home))


def _tell(findings: Sequence[Finding], screen: Screen, *, json: bool) -> None:
    if json:
        for one in findings:
            ok = {"done": "ok", "other": "warning", "failed": "problem"}[one.mark]
            put({"about": one.about, "is": ok, "says": one.says, "do": one.do or None})
        return
    for one in findings:
        then = f"   {screen.marks.then} {one.do}" if one.do else ""
        print(f"{getattr(screen.marks, one.mark)} {one.about:<9} {one.says}{then}")
    problems = sum(one.mark == "failed" for one in findings)
    warnings = sum(one.mark == "other" for one in findings)
    if problems or warnings:
        print(f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}")
    else:
        print("no problems")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
