"""What a backup is made from and put back to, on the disk of one home.

Putting back is one step. All of it is first written to `state/restore.pending`, whole or not at
all; then file after file takes its place, each in one step. Whoever is killed in between leaves
the pending file, and the next start of rbee goes on from it: nobody ever runs on half a backup.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rbee.edge.config_file import load_settings
from rbee.edge.disk import translated
from rbee.edge.home import Home
from rbee.edge.private_file import read_small, write_private
from rbee.errors import RbeeError
from rbee.policy.keys import merged
from rbee.settings import Settings
from rbee.version import VERSION
from rbee.wire.attached import Attachment
from rbee.wire.backup import (
    ATTACHED,
    CONFIG,
    ENGINE,
    FILES,
    KEYS,
    MANIFESTS,
    WISHES,
    Backup,
    read_backup,
    write_backup,
)
from rbee.wire.config import read_config
from rbee.wire.control import ModelWish
from rbee.wire.keys import KeyRecord
from rbee.wire.unreadable import UNREADABLE

MOST_BYTES = 256 << 20
"""Of a backup: ten thousand large models are less."""

_LISTS: Mapping[str, type[list[KeyRecord]] | type[list[ModelWish]] | type[list[Attachment]]] = {
    KEYS: list[KeyRecord],
    WISHES: list[ModelWish],
    ATTACHED: list[Attachment],
}


def collect(home: Home, settings: Settings) -> dict[str, bytes]:
    """The files of this home that a backup holds, by their names there. Raises DISK_…"""
    found = {}
    places = {name: home.root / name for name in FILES}
    for path in sorted(_manifests(home, settings).glob("*.json")):
        places[MANIFESTS + path.name] = path
    for name, path in places.items():
        try:
            found[name] = read_small(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            raise translated(exc, f"read {path.name}", path) from exc
    return found


def read_from(path: Path) -> Backup:
    """The backup in that file. Raises BACKUP_INVALID, BACKUP_NEWER, DISK_…"""
    try:
        return read_backup(read_small(path, MOST_BYTES))
    except OSError as exc:
        raise RbeeError("BACKUP_INVALID", problem=f"{path}: {exc.strerror}") from exc


def write_to(path: Path, files: Mapping[str, bytes]) -> int:
    """Make a backup of these files (0600), whole or not at all; gives its size. Raises DISK_…"""
    data = write_backup(files, rbee=VERSION, made_at=time.time())
    try:
        write_private(path, data)
    except OSError as exc:
        raise translated(exc, f"write {path.name}", path, len(data)) from exc
    return len(data)


def check(home: Home, backup: Backup) -> None:
    """Raises BACKUP_INVALID if rbee could not run with what it holds."""
    for name, kind in _LISTS.items():
        try:
            msgspec.json.decode(backup.files.get(name, b"[]"), type=kind)
        except UNREADABLE as exc:
            raise RbeeError("BACKUP_INVALID", problem=f"its {name} cannot be read: {exc}") from exc
    try:
        text = backup.files.get(CONFIG, b"").decode("utf-8-sig")
        engine = backup.files.get(ENGINE, b"").decode().strip()
        read_config(home=str(home.root), text=text, environment=os.environ, chosen_engine=engine)
    except UnicodeDecodeError as exc:
        raise RbeeError("BACKUP_INVALID", problem=f"its {CONFIG} is no UTF-8") from exc
    except RbeeError as error:
        problem = f"rbee cannot run with its {CONFIG}: {error.report.message}"
        raise RbeeError("BACKUP_INVALID", problem=problem) from error


def joined(here: Mapping[str, bytes], backup: Backup) -> dict[str, bytes]:
    """What shall be here afterwards. Keys are joined, and one that was revoked here stays revoked:
    an old backup must open nothing that was shut since. What is here cannot be read: it goes."""
    files = dict(backup.files)
    if KEYS in here and KEYS in files:
        try:
            kept = msgspec.json.decode(here[KEYS], type=list[KeyRecord])
        except UNREADABLE:
            kept = []
        back = msgspec.json.decode(files[KEYS], type=list[KeyRecord])
        files[KEYS] = msgspec.json.encode(merged(kept, back))
    return files


def put_back(home: Home, files: Mapping[str, bytes]) -> None:
    """Have these files here. Raises DISK_… with nothing changed, or with the rest left to
    `go_on`."""
    write_to(home.restore_pending, files)
    go_on(home)


def go_on(home: Home) -> bool:
    """Finish what was begun to be put back; False: nothing was. Raises DISK_…, BACKUP_…"""
    path = home.restore_pending
    if not path.exists():
        return False
    files = read_from(path).files
    for name in (one for one in FILES if one in files):
        _replace(home.root / name, files[name])
    # Where the store lies, the configuration says that is now in place.
    manifests = _manifests(home, load_settings(home))
    for name in (one for one in files if one.startswith(MANIFESTS)):
        _replace(manifests / name.removeprefix(MANIFESTS), files[name])
    try:
        path.unlink()
    except OSError as exc:
        raise translated(exc, f"remove {path.name}", path) from exc
    return True


def _replace(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, content)
    except OSError as exc:
        raise translated(exc, f"write {path.name}", path, len(content)) from exc


def _manifests(home: Home, settings: Settings) -> Path:
    return Path(settings.models_dir or home.models) / "manifests"
