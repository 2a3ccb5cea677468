"""`rbee config`: what is set, where each value comes from, and whether the file is right."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rbee.edge.config_file import load_config
from rbee.edge.home import Home, default_home
from rbee.keeper.parsing import Parser, verbs
from rbee.keeper.render import Screen, put, table
from rbee.keeper.starting import check_access
from rbee.settings import KEEP_ALWAYS, ModelSettings
from rbee.wire.config import VARIABLES, Config
from rbee.wire.units import write_size, write_time


def run(command: str, arguments: Sequence[str]) -> int:
    does = {"show": _show, "check": _check}
    verb, rest = verbs(command, arguments, does)
    return does[verb](rest)


def _show(arguments: Sequence[str]) -> int:
    parser = Parser("config show", "Every value and where it comes from.", remote=False)
    parser.add_argument(
        "--all", action="store_true", help="limits that are no keys of the file too"
    )
    asked = parser.parse(arguments)
    home = Home(default_home())
    config = load_config(home)
    rows = [row for row in values(config) if asked.all or _is_shown(row[0], config)]
    if asked.json:
        for key, value in rows:
            put({"key": key, "value": value, "origin": config.origin(key)})
        return 0
    cells = [
        [key, json.dumps(value, ensure_ascii=False), config.origin(key)] for key, value in rows
    ]
    print(table(("KEY", "VALUE", "FROM"), cells))
    print(f"\nfile: {home.config}{'' if home.config.exists() else ' (not there; none is needed)'}")
    return 0


def _is_shown(key: str, config: Config) -> bool:
    return not key.startswith(("timing.", "bounds.")) or key in config.origins


def values(config: Config) -> Iterator[tuple[str, Any]]:
    """Every key with its value as it would be written in the file."""
    settings = config.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    yield "listen", f"{host}:{settings.port}"
    yield "origins", list(settings.origins)
    yield "models_dir", settings.models_dir or "auto"
    yield "engine.backend", settings.engine_backend
    yield "engine.path", settings.engine_path
    yield from _model_values("defaults", settings.defaults)
    for name, model in settings.models.items():
        yield f"models.{name}.source", list(model.source)
        yield f"models.{name}.aliases", list(model.aliases)
        yield from _model_values(f"models.{name}", model)
    limits = settings.limits
    yield "limits.queue", limits.queue
    yield "limits.queue_wait", write_time(limits.queue_wait_s) if limits.queue_wait_s else "none"
    yield "limits.stall", write_time(limits.stall_s)
    yield "limits.total", write_time(limits.total_s) if limits.total_s else "none"
    yield "limits.disk_reserve", write_size(limits.disk_reserve_bytes)
    yield "limits.download_rate", write_size(limits.download_bytes_per_s)
    yield from _fields("timing", settings.timing)
    yield from _fields("bounds", settings.bounds)


def _model_values(section: str, model: ModelSettings) -> Iterator[tuple[str, Any]]:
    always = model.keep_alive_s == KEEP_ALWAYS
    yield f"{section}.keep_alive", "always" if always else write_time(model.keep_alive_s)
    yield f"{section}.device", model.device
    yield f"{section}.fallback", model.fallback
    yield f"{section}.replicas", model.replicas
    yield f"{section}.ctx", model.ctx or "auto"
    yield f"{section}.parallel", model.parallel or "auto"
    yield f"{section}.args", list(model.args)
    yield f"{section}.params", dict(model.params)


def _fields(section: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name in group.__slots__:
        value = getattr(group, name)
        if name.endswith("_s"):
            value = write_time(value)
        elif name.endswith("_bytes"):
            value = write_size(value)
        yield f"{section}.{name}", value


def _check(arguments: Sequence[str]) -> int:
    parser = Parser("config check", "Whether the configuration is right.", remote=False)
    asked = parser.parse(arguments)
    home = Home(default_home())
    config = load_config(home)
    check_access(home, config.settings)
    screen = Screen.on(sys.stderr, json=asked.json)
    if asked.json:
        put({"ok": True, "set": dict(config.origins), "unknown": list(config.unknown_variables)})
        return 0
    where = str(home.config) if home.config.exists() else "no rbee.toml; the defaults"
    count = len(config.origins)
    screen.mark("done", f"{where}: {count} {'value' if count == 1 else 'values'} set")
    for variable in config.unknown_variables:
        near = difflib.get_close_matches(variable, VARIABLES, n=1)
        hint = f" (nearest: {near[0]})" if near else ""
        screen.mark("other", f"{variable} sets nothing{hint}")
    return 0
