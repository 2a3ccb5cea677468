"""`rbee models`: list, pull, show, rm."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rbee.errors import RbeeError, human_bytes
from rbee.keeper.asking import Asker
from rbee.keeper.connection import Connection, checked
from rbee.keeper.exits import INTERRUPTED
from rbee.keeper.fetching import described, fetch, full_name
from rbee.keeper.parsing import Parser, verbs
from rbee.keeper.render import Screen, put, table


def run(command: str, arguments: Sequence[str]) -> int:
    does = {"list": _list, "pull": _pull, "show": _show, "rm": _remove}
    verb, rest = verbs(command, arguments, does)
    return does[verb](rest)


def _list(arguments: Sequence[str]) -> int:
    asked = Parser("models list", "Models that are stored here.").parse(arguments)
    found = checked(asked.url).get("/rbee/models")["models"]
    if asked.json:
        for one in found:
            put(one)
        return 0
    rows = [
        [
            one["name"],
            human_bytes(one["size_bytes"]),
            one["quantisation"] or "–",
            str(one["context_train_tokens"] or "–"),
            _day(one["added_at"]),
            one["source"],
        ]
        for one in found
    ]
    head = ("NAME", "SIZE", "QUANT", "CTX", "ADDED", "SOURCE")
    print(table(head, rows, right=(1, 3)) if rows else "No model is stored: rbee models pull NAME")
    return 0


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
        screen.mark("happening", "stopped; the same command begins again")
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
        "added": _day(view["added_at"]),
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


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
