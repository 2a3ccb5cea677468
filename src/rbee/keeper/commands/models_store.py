"""`rbee models verify | import | prune | pin | unpin`: what looks after the store."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rbee.errors import RbeeError, human_bytes
from rbee.keeper.connection import Connection, checked
from rbee.keeper.exits import INTERRUPTED
from rbee.keeper.failure import show
from rbee.keeper.fetching import follow, full_name
from rbee.keeper.parsing import Parser, size_flag
from rbee.keeper.render import Screen, day, put
from rbee.wire.units import write_size

_SOURCES_WITHIN_S = 300.0
"""Every source is asked, and each may take its time."""


def verify(arguments: Sequence[str]) -> int:
    """Reads stored models again; the exit code is that of the worst of them."""
    parser = Parser("models verify", "Read stored models again, and mend what rotted.")
    parser.add_argument("model", metavar="NAME", nargs="?")
    parser.add_argument("--all", action="store_true", help="every stored model")
    asked = parser.parse(arguments)
    if bool(asked.model) == asked.all:
        parser.error("name one model, or say --all")
    screen = Screen.on(sys.stderr, json=asked.json)
    connection = checked(asked.url)
    stored = [one["name"] for one in connection.get("/rbee/models")["models"]]
    models = stored if asked.all else [full_name(asked.model)]
    mended = failed = worst = 0
    try:
        for model in models:
            found, code = _verified(connection, model, screen)
            worst = max(worst, code)
            failed += found is None
            mended += bool(found and found["rotted"])
    except KeyboardInterrupt:
        screen.mark("happening", "stopped; nothing was changed that was not whole again")
        return INTERRUPTED
    if asked.all:
        whole = len(models) - mended - failed
        screen.line(f"  {len(models)} models: {whole} whole, {mended} mended, {failed} not usable")
    return worst


def _verified(
    connection: Connection, model: str, screen: Screen
) -> tuple[Mapping[str, Any] | None, int]:
    try:
        body = {"name": model}
        found: Mapping[str, Any] = follow(connection, "/rbee/models/verify", body, screen, model)
    except RbeeError as error:
        return None, show(error, screen)
    if screen.json:
        put({"verified": found})
        return found, 0
    name, chunks = found["model"]["name"], found["chunks"]
    size = human_bytes(found["model"]["size_bytes"])
    if not found["rotted"]:
        screen.mark("done", f"{name}   {size} in {chunks} chunks, sha256 right")
        return found, 0
    fetched = human_bytes(found["fetched_bytes"])
    what = "it" if found["whole"] else f"{found['rotted']} of {chunks} chunks"
    screen.mark("other", f"{name}   {what} was damaged; {fetched} fetched again, sha256 right now")
    return found, 0


def import_from(arguments: Sequence[str]) -> int:
    """Links what other programs hold; exits with 1 if something was refused."""
    from rbee.models.imports import CACHES, cache_root

    parser = Parser("models import", "Link models that other programs hold, without a second copy.")
    parser.add_argument("what", metavar="|".join((*CACHES, "PATH")))
    asked = parser.parse(arguments)
    screen = Screen.on(sys.stderr, json=asked.json)
    connection = checked(asked.url)
    if asked.what in CACHES:
        # Where that cache is, this shell's variables say, not those that rbee was started with.
        what = f"{asked.what}={cache_root(asked.what)}" if connection.local else asked.what
    else:
        what = os.path.abspath(Path(asked.what).expanduser())
    found = follow(connection, "/rbee/models/import", {"what": what}, screen, asked.what)
    for one in found:
        _tell_imported(one, screen)
    refused = sum(one["outcome"] == "refused" for one in found)
    linked = sum(one["outcome"] == "linked" for one in found)
    screen.line(f"  {len(found)} found: {linked} linked, {refused} refused")
    return 1 if refused else 0


def _tell_imported(one: Mapping[str, Any], screen: Screen) -> None:
    if screen.json:
        put({"imported": one})
    elif one["outcome"] == "refused":
        screen.mark("failed", f"{one['name']}   {one['problem']['message']}")
        screen.line(f"  {one['path']}   {one['problem']['code']}")
    else:
        size = human_bytes(one["size_bytes"])
        was = "linked, not copied" if one["outcome"] == "linked" else "was here already"
        known = "sha256 verified" if one["digest_known"] else "no known digest: structure only"
        screen.mark("done", f"{one['name']}   {size}, {was}, {known}")


def tell_outdated(connection: Connection, *, json: bool) -> int:
    """`models list --outdated`: what the sources have in another version now."""
    found = connection.get("/rbee/models/outdated", within_s=_SOURCES_WITHIN_S)["models"]
    if json:
        for one in found:
            put(one)
        return 0
    for one in found:
        if one["problem"]:
            print(f"{one['name']}   could not be asked for: {one['problem']['message']}")
        elif one["outdated"]:
            now = one["now_digest"] or one["now_revision"]
            print(f"{one['name']}   {one['digest'][:19]} here, {now[:19]} at its source")
    outdated = sum(one["outdated"] for one in found)
    print(f"{len(found)} asked for, {outdated} outdated")
    return 0


def prune(arguments: Sequence[str]) -> int:
    """Says what would go; `--yes` removes it."""
    parser = Parser("models prune", "Remove the models that were used least recently.")
    parser.add_argument("--keep", type=size_flag, required=True, metavar="SIZE", help="50GiB")
    parser.add_argument("--yes", action="store_true", help="remove; without it nothing is changed")
    asked = parser.parse(arguments)
    screen = Screen.on(sys.stderr, json=asked.json)
    body = {"keep_bytes": asked.keep, "remove": asked.yes}
    found = checked(asked.url).post("/rbee/models/prune", body)
    if asked.json:
        put(found)
        return 0
    for one in found["chosen"]:
        size = human_bytes(one["size_bytes"])
        did = "removed" if asked.yes else "would be removed"
        screen.mark("done", f"{one['name']}   {size}, used {day(one['used_at'])}, {did}")
    for name, why in found["kept"].items():
        screen.mark("happening", f"{name}   stays: {why}")
    before, after = human_bytes(found["before_bytes"]), human_bytes(found["after_bytes"])
    screen.line(f"  {before} before, {after} after")
    if found["chosen"] and not asked.yes:
        keep = write_size(asked.keep)
        screen.line(f"  {screen.marks.then} rbee models prune --keep {keep} --yes")
    return 0


def pin(arguments: Sequence[str]) -> int:
    return _pin(arguments, pinned=True)


def unpin(arguments: Sequence[str]) -> int:
    return _pin(arguments, pinned=False)


def _pin(arguments: Sequence[str], *, pinned: bool) -> int:
    verb, what = ("pin", "Never prune a model.") if pinned else ("unpin", "Let a model be pruned.")
    parser = Parser(f"models {verb}", what)
    parser.add_argument("model", metavar="NAME")
    asked = parser.parse(arguments)
    body = {"name": full_name(asked.model), "pinned": pinned}
    found = checked(asked.url).post("/rbee/models/pin", body)
    if asked.json:
        put(found)
        return 0
    screen = Screen.on(sys.stderr)
    screen.mark("done", f"{found['name']} {'is never pruned' if pinned else 'may be pruned'}")
    return 0
