"""`rbee models`: list, pull, show, rm; what looks after the store is in `models_store`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rbee.errors import RbeeError, human_bytes
from rbee.keeper.asking import Asker
from rbee.keeper.commands import models_store
from rbee.keeper.connection import Connection, checked
from rbee.keeper.exits import INTERRUPTED
from rbee.keeper.fetching import described, fetch, full_name
from rbee.keeper.parsing import Parser, verbs
from rbee.keeper.render import Screen, day, put, table

_SOURCES = ("hf", "ollama", "pypi", "https", "http", "file")


def run(command: str, arguments: Sequence[str]) -> int:
    does = {
        "list": _list,
        "pull": _pull,
        "show": _show,
        "rm": _remove,
        "verify": models_store.verify,
        "import": models_store.import_from,
        "prune": models_store.prune,
        "pin": models_store.pin,
        "unpin": models_store.unpin,
    }
    verb, rest = verbs(command, arguments, does)
    return does[verb](rest)


def _list(arguments: Sequence[str]) -> int:
    parser = Parser("models list", "Models that are stored here.")
    parser.add_argument("--outdated", action="store_true", help="ask the sources for newer ones")
    parser.add_argument("--source", choices=_SOURCES, help="only what came from there")
    asked = parser.parse(arguments)
    connection = checked(asked.url)
    if asked.outdated:
        return models_store.tell_outdated(connection, json=asked.json)
    found = connection.get("/rbee/models")["models"]
    stock = connection.get("/rbee/models/stock") if connection.local and not asked.source else {}
    if asked.source:
        found = [one for one in found if one["source"].startswith(f"{asked.source}:")]
    if asked.json:
        for one in found:
            put(one)
        for kind in ("unnamed", "partials"):
            for one in stock.get(kind, ()):
                put({kind.removesuffix("s"): one})
        return 0
    rows = [
        [
            one["name"],
            human_bytes(one["size_bytes"]),
            one["quantisation"] or "–",
            str(one["context_train_tokens"] or "–"),
            day(one["used_at"]),
            one["source"] + (" (pinned)" if one["pinned"] else ""),
        ]
        for one in found
    ]
    head = ("NAME", "SIZE", "QUANT", "CTX", "USED", "SOURCE")
    where = f" from {asked.source}" if asked.source else ""
    none = f"No model{where} is stored: rbee models pull NAME"
    print(table(head, rows, right=(1, 3)) if rows else none)
    for line in _beside(stock):
        print(line)
    return 0


def _beside(stock: Mapping[str, Any]) -> Iterator[str]:
    """Files that no model names, and downloads that can be resumed."""
    for one in stock.get("unnamed", ()):
        blob = one["name"].replace(":", "-", 1)
        yield f"(unnamed {blob})  {human_bytes(one['size_bytes'])}  rbee models rm {one['name']}"
    for one in stock.get("partials", ()):
        kept = "under way" if one["busy"] else "kept for 7 days, the same pull goes on from there"
        yield f"(partial {one['name'][:24]})  {human_bytes(one['size_bytes'])}  {kept}"


def _pull(arguments: Sequence[str]) -> int:
    parser = Parser("models pull", "Fetch a model, or link a file of yours.")
    parser.add_argument("model", metavar="NAME|PATH|SOURCE")
    asked = parser.parse(arguments)
    screen = Screen.on(sys.stderr, json=asked.json)
    asker = Asker(Connection.of(asked.url), screen, json=asked.json)
    asker.meet()
    begun_at = time.monotonic()
    try:
        view = fetch(asker.connection, asked.model, screen)
    except KeyboardInterrupt:
        screen.mark("happening", "stopped; the same command goes on from here")
        return INTERRUPTED
    if asked.json:
        put({"done": view})
        return 0
    screen.mark("done", described(view, time.monotonic() - begun_at))
    screen.line(f'  {screen.marks.then} rbee infer -m {view["name"]} -p "…"')
    return 0


def _show(arguments: Sequence[str]) -> int:
    parser = Parser("models show", "All that is known of a stored model.")
    parser.add_argument("model", metavar="NAME")
    asked = parser.parse(arguments)
    view = _find(checked(asked.url), asked.model)
    if asked.json:
        put(view)
        return 0
    told = {
        "name": view["name"],
        "size": human_bytes(view["size_bytes"]),
        "architecture": view["architecture"],
        "parameters": f"{view['parameters']:,}" if view["parameters"] else "",
        "quantisation": view["quantisation"],
        "context": f"{view['context_train_tokens']} tokens (trained)",
        "embedding": f"{view['embedding_length']} numbers" if view["embedding_length"] else "",
        "digest": view["digest"],
        "source": view["source"],
        "known as": view["ref"],
        "file": view.get("path", ""),
        "added": day(view["added_at"]),
        "last used": day(view["used_at"]),
        "pinned": "yes, never pruned" if view["pinned"] else "",
    }
    for name, value in told.items():
        if value:
            print(f"{name:<14}{value}")
    return 0


def _remove(arguments: Sequence[str]) -> int:
    parser = Parser("models rm", "Remove a stored model; a linked file of yours stays.")
    parser.add_argument("model", metavar="NAME")
    asked = parser.parse(arguments)
    screen = Screen.on(sys.stderr, json=asked.json)
    removed = checked(asked.url).post("/rbee/models/remove", {"name": full_name(asked.model)})
    if asked.json:
        put(removed)
    else:
        screen.mark("done", f"removed {removed['removed']}")
    return 0


def _find(connection: Connection, model: str) -> Mapping[str, Any]:
    import difflib

    found = connection.get("/rbee/models")["models"]
    for view in found:
        if (
            full_name(model) in (view["name"], view["ref"], view.get("path"))
            or model == view["name"]
        ):
            return dict(view)
    names = [view["name"] for view in found]
    near = difflib.get_close_matches(model, names, n=3, cutoff=0.3)
    raise RbeeError("MODEL_NOT_FOUND", model=model[:200], nearest=near)
