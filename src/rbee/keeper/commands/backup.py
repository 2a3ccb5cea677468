"""`rbee backup` and `rbee restore`: what rbee keeps (configuration, keys, wishes, attached servers,
what is known of each model) to one file, and back. Model files are not in it: they are large, and
each comes again from its source, by its digest."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rbee.edge.backup_files import (
    check,
    collect,
    joined,
    put_back,
    read_from,
    write_to,
)
from rbee.edge.config_file import load_settings
from rbee.edge.home import Home, default_home
from rbee.edge.home_processes import processes_of
from rbee.errors import RbeeError, human_bytes
from rbee.keeper.acts import write_down
from rbee.keeper.parsing import Parser
from rbee.keeper.render import Screen, day, put
from rbee.keeper.starting import lock, prepare, settled
from rbee.models.store import Store
from rbee.policy.keys import state
from rbee.wire.audit import said_of
from rbee.wire.backup import ATTACHED, CONFIG, KEYS, MANIFESTS, WISHES, Backup
from rbee.wire.keys import KeyRecord
from rbee.wire.unreadable import UNREADABLE


def run(command: str, arguments: Sequence[str]) -> int:
    return _backup(arguments) if command == "backup" else _restore(arguments)


def _backup(arguments: Sequence[str]) -> int:
    parser = Parser(
        "backup", "What rbee keeps, but for model files, to one file (0600).", remote=False
    )
    parser.add_argument("file", metavar="FILE")
    asked = parser.parse(arguments)
    home, path = Home(default_home()), Path(asked.file).expanduser().absolute()
    _check_target(path)
    files = collect(home, load_settings(home))
    size_bytes = write_to(path, files)
    told = _told(files)
    if asked.json:
        put({"file": str(path), "size_bytes": size_bytes, **told})
        return 0
    screen = Screen.on(sys.stderr)
    screen.mark("done", f"{path}   {human_bytes(size_bytes)}: {_in_words(told)}")
    if told["models"]:
        screen.mark("other", "model files are not in it: each comes again from its source")
    return 0


def _check_target(path: Path) -> None:
    """Only a backup is written over. Raises USAGE."""
    if not path.parent.is_dir():
        raise RbeeError("USAGE", problem=f"there is no folder {path.parent}")
    if not path.exists():
        return
    try:
        read_from(path)
    except RbeeError as error:
        if error.code == "BACKUP_NEWER":
            return
        problem = f"{path} is there, and is no backup of rbee: name another file"
        raise RbeeError("USAGE", problem=problem) from error


def _restore(arguments: Sequence[str]) -> int:
    parser = Parser(
        "restore",
        "Put back what `rbee backup` wrote, while rbee is down. Models and keys that came since\n"
        "stay; a key that was revoked since stays revoked. Use your own backups only: they say\n"
        "which program runs as the engine.",
        remote=False,
    )
    parser.add_argument("file", metavar="FILE")
    asked = parser.parse(arguments)
    home = Home(default_home())
    screen = Screen.on(sys.stderr, json=asked.json)
    backup = read_from(Path(asked.file).expanduser())
    check(home, backup)
    prepare(home)
    before = home.state / "before_restore.backup"
    with lock(home, screen):
        # A part that outlived the rest would go on with what it knew before.
        if settled(home) is not None or processes_of(str(home.root)):
            raise RbeeError("RESTORE_RUNNING")
        here = _here(home)
        if here and not home.restore_pending.exists():
            write_to(before, here)
        files = joined(here, backup)
        put_back(home, files)
        write_down(home, "restore", said_of({"what": asked.file}))
    _tell(home, backup, here, screen, before=str(before) if before.exists() else "")
    return 0


def _here(home: Home) -> dict[str, bytes]:
    """What is here now; of a configuration that nobody can read, what lies in the usual place."""
    try:
        settings = load_settings(home)
    except RbeeError:
        from rbee.settings import Settings

        settings = Settings(str(home.root))
    return collect(home, settings)


def _tell(
    home: Home, backup: Backup, here: Mapping[str, bytes], screen: Screen, *, before: str
) -> None:
    told = _told(backup.files)
    absent = _absent(home, backup)
    opened = _opened(here, backup) if KEYS in here else []
    if screen.json:
        missing = [name for name, _ in absent]
        put({**told, "files_missing": missing, "keys_opened": opened, "before": before or None})
        return
    screen.mark("done", f"put back as of {day(backup.made_at)}: {_in_words(told)}")
    for one in opened:
        screen.mark("other", f"the key {one} opens again   > rbee keys revoke {one}")
    for name, source in absent:
        if source.startswith("file:"):
            screen.mark("other", f"{name}   its file {source.removeprefix('file://')} is not here")
        else:
            screen.mark("other", f"{name}   its file comes from {source} when it is asked for")
    if before:
        screen.line(f"  what was here before: rbee restore {before}")
    screen.line(f"  {screen.marks.then} rbee up")


def _absent(home: Home, backup: Backup) -> list[tuple[str, str]]:
    """Models of the backup whose files are not in the store, and where they come from."""
    store = Store(Path(load_settings(home).models_dir or home.models))
    names = set(backup.manifests)
    return [
        (one.name, one.sources[0])
        for one in store.all()
        if MANIFESTS + store.manifest_path(one.name).name in names and not store.is_whole(one)
    ]


def _opened(here: Mapping[str, bytes], backup: Backup) -> list[str]:
    """Ids of keys that were not here any more, and open something again."""
    known = {one.id for one in _records(here)}
    now = time.time()
    back = _records(backup.files)
    return [one.id for one in back if one.id not in known and state(one, now) == "valid"]


def _records(files: Mapping[str, bytes]) -> list[KeyRecord]:
    try:
        return msgspec.json.decode(files.get(KEYS, b"[]"), type=list[KeyRecord])
    except UNREADABLE:
        return []


def _told(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What these files are, in numbers."""
    counts = {name: _length(files.get(name, b"[]")) for name in (KEYS, WISHES, ATTACHED)}
    return {
        "models": sum(name.startswith(MANIFESTS) for name in files),
        "keys": counts[KEYS],
        "wishes": counts[WISHES],
        "attached": counts[ATTACHED],
        "config": CONFIG in files,
    }


def _length(content: bytes) -> int:
    try:
        return len(msgspec.json.decode(content, type=list[Any]))
    except UNREADABLE:
        return 0


def _in_words(told: Mapping[str, Any]) -> str:
    words = ["rbee.toml"] if told["config"] else []
    named = (
        ("models", "model", "models"),
        ("keys", "key", "keys"),
        ("wishes", "wish", "wishes"),
        ("attached", "attached server", "attached servers"),
    )
    words += [f"{told[name]} {one if told[name] == 1 else many}" for name, one, many in named]
    return ", ".join(words)
