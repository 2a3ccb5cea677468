"""`rbee serve` and `rbee stop`: which models are kept loaded."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rbee.errors import RbeeError
from rbee.keeper.asking import Asker
from rbee.keeper.connection import Connection, checked
from rbee.keeper.fetching import described, fetch, is_path
from rbee.keeper.parsing import Parser, count_flag
from rbee.keeper.render import Screen, put


def run(command: str, arguments: Sequence[str]) -> int:
    return _serve(arguments) if command == "serve" else _stop(arguments)


def _serve(arguments: Sequence[str]) -> int:
    asked = _serve_parser().parse(arguments)
    screen = Screen.on(sys.stderr, json=asked.json)
    asker = Asker(Connection.of(asked.url), screen, json=asked.json)
    asker.meet()
    model = _stored(asker, asked.model, screen)
    done = _wait(asker.connection, _wish(asked, model), screen)
    if asked.json:
        put(done)
        return 0
    workers = done["workers"]
    places = ", ".join(f"{one['id']} on {one['device'] or '…'}" for one in workers)
    if asked.wait:
        screen.mark("done", f"{model} is ready: {places}")
    else:
        screen.mark("done", f"{model} will be served; rbee ps shows how far it is")
    return 0


def _serve_parser() -> Parser:
    parser = Parser("serve", "Keep a model loaded; a model that is not stored is fetched first.")
    parser.add_argument("model", metavar="MODEL_OR_PATH")
    parser.add_argument("--replicas", type=count_flag, metavar="N", help="workers at once")
    parser.add_argument("--ctx", type=count_flag, metavar="TOKENS", help="context per slot")
    parser.add_argument("--parallel", type=count_flag, metavar="N", help="slots per worker")
    parser.add_argument("--device", default="", help="cpu, cuda:0, …")
    parser.add_argument("--fallback", action=argparse.BooleanOptionalAction)
    parser.add_argument("--trust", action="store_true", help="serve it though its self-test fails")
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="return when all are ready, or with the cause why not (the default)",
    )
    return parser


def _stored(asker: Asker, model: str, screen: Screen) -> str:
    """The name that rbee knows a stored model by; a new one is fetched or linked."""
    connection = asker.connection
    if not connection.local:
        return model
    if not is_path(model):
        known = connection.get("/v1/models")["data"]
        stored = connection.get("/rbee/models")["models"]
        names = {name for one in stored for name in (one["name"], one["ref"])}
        if model in names:
            return model
        if model in {one["id"] for one in known} and not _declared_only(known, model):
            return model
    begun_at = time.monotonic()
    view = fetch(connection, _source_of(asker, model), screen)
    screen.mark("done", described(view, time.monotonic() - begun_at))
    return model if _is_block(asker, model) else str(view["name"])


def _declared_only(known: Sequence[Mapping[str, Any]], model: str) -> bool:
    """A model of the TOML that is not stored yet (`created` is when it was stored)."""
    return any(one["id"] == model and not one["created"] for one in known)


def _source_of(asker: Asker, model: str) -> str:
    """What is fetched for a model of the TOML."""
    block = _block(asker, model)
    return block.source[0] if block is not None and block.source else model


def _is_block(asker: Asker, model: str) -> bool:
    return _block(asker, model) is not None


def _block(asker: Asker, model: str) -> Any:
    from rbee.edge.config_file import load_settings

    return load_settings(asker.connection.home).models.get(model)


def _wish(asked: argparse.Namespace, model: str) -> dict[str, Any]:
    wish = {
        "model": model,
        "replicas": asked.replicas,
        "ctx": asked.ctx,
        "parallel": asked.parallel,
        "device": asked.device or None,
        "fallback": asked.fallback,
    }
    said: dict[str, Any] = {name: value for name, value in wish.items() if value is not None}
    return {**said, "trust": asked.trust, "wait": asked.wait}


def _wait(connection: Connection, wish: Mapping[str, Any], screen: Screen) -> dict[str, Any]:
    shown = {"words": f"{wish['model']}   waiting for a worker"}

    def draw() -> None:
        screen.live("serve", shown["words"])

    for line in connection.lines("POST", "/rbee/serve", wish, on_tick=draw):
        if "done" in line:
            screen.clear()
            return dict(line["done"])
        screen.fact(line)
        shown["words"] = _words(str(wish["model"]), line.get("workers") or ())
        draw()
    raise RbeeError("CONNECTION_LOST", url=connection.shown, problem="it ended without a result")


def _words(model: str, workers: Sequence[Mapping[str, Any]]) -> str:
    states = []
    for one in workers:
        share = f" {one['progress'] * 100:.0f} %" if one["progress"] else ""
        states.append(f"{one['id']} {str(one['state']).lower().replace('_', ' ')}{share}")
    return f"{model}   {', '.join(states) or 'waiting for a worker'}"


def _stop(arguments: Sequence[str]) -> int:
    parser = Parser("stop", "Unload a model, end a worker, or all of them. rbee itself stays up.")
    parser.add_argument("name", nargs="?", default="", metavar="MODEL|WORKER")
    parser.add_argument("--all", action="store_true")
    asked = parser.parse(arguments)
    if bool(asked.name) == asked.all:
        raise RbeeError("USAGE", problem="rbee stop: name a model or a worker, or give --all")
    screen = Screen.on(sys.stderr, json=asked.json)
    connection = checked(asked.url)
    stopped = stop_named(connection, asked.name)
    if asked.json:
        put({"stopped": stopped})
    else:
        screen.mark("done", f"stopped {', '.join(stopped)}" if stopped else "nothing was loaded")
        if asked.all and stopped:
            screen.line(f"  {screen.marks.then} rbee up --detach   brings back what you served")
    return 0


def stop_named(connection: Connection, name: str) -> list[str]:
    """Ids of the workers that are gone; an empty name means all. A worker's id wins."""
    if not name:
        return list(connection.post("/rbee/stop", {"all": True})["stopped"])
    workers = {one["id"] for one in connection.get("/rbee/ps")["workers"]}
    kind = "worker" if name in workers else "model"
    return list(connection.post("/rbee/stop", {kind: name})["stopped"])
