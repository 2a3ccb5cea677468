"""A backup of what rbee keeps, in one file of two lines: what it is, and what it holds.

    {"format":"rbee-backup","schema":1,"rbee":"0.1.0","made_at":…,"sha256":"…"}
    {"rbee.toml":"…","state/keys.json":"…","manifests/tiny.json":"…"}        contents in base64

The sha256 is that of the second line. It finds rot and cuts; it is no signature, so only a backup
of one's own is to be trusted. Keys stand in it as they are kept: by their hashes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from rbee.errors import RbeeError
from rbee.wire.unreadable import UNREADABLE

FORMAT = "rbee-backup"
SCHEMA = 1

CONFIG = "rbee.toml"
KEYS = "state/keys.json"
WISHES = "state/wishes.json"
ATTACHED = "state/attached.json"
ENGINE = "state/engine_path"
FILES = (CONFIG, KEYS, WISHES, ATTACHED, ENGINE)
MANIFESTS = "manifests/"
_MANIFEST = re.compile(r"manifests/[A-Za-z0-9%._~-]{1,250}\.json")
"""As the store names them: no folder, no way up."""


class _Head(msgspec.Struct, frozen=True):
    format: str
    schema: int
    rbee: str
    made_at: float
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a file holds, and who made it when."""

    files: Mapping[str, bytes]
    rbee: str
    made_at: float

    @property
    def manifests(self) -> tuple[str, ...]:
        """Names of the files of manifests."""
        return tuple(sorted(name for name in self.files if name.startswith(MANIFESTS)))


def write_backup(files: Mapping[str, bytes], *, rbee: str, made_at: float) -> bytes:
    """The whole file."""
    body = msgspec.json.encode(dict(sorted(files.items())))
    head = _Head(FORMAT, SCHEMA, rbee, made_at, hashlib.sha256(body).hexdigest())
    return msgspec.json.encode(head) + b"\n" + body + b"\n"


def read_backup(data: bytes) -> Backup:
    """What it holds, with names that are rbee's own only. Raises BACKUP_INVALID for what is none or
    is damaged, BACKUP_NEWER for one that this rbee cannot read."""
    line, _, rest = data.partition(b"\n")
    try:
        head = msgspec.json.decode(line, type=_Head)
    except UNREADABLE as exc:
        raise RbeeError("BACKUP_INVALID", problem="it is no backup of rbee") from exc
    if head.format != FORMAT:
        raise RbeeError("BACKUP_INVALID", problem="it is no backup of rbee")
    if head.schema != SCHEMA:
        raise RbeeError("BACKUP_NEWER", version=head.rbee[:40], schema=head.schema)
    body = rest.removesuffix(b"\n")
    if hashlib.sha256(body).hexdigest() != head.sha256:
        problem = "its sha256 is not the one that it was made with: it is damaged, or cut off"
        raise RbeeError("BACKUP_INVALID", problem=problem)
    try:
        files = msgspec.json.decode(body, type=dict[str, bytes])
    except UNREADABLE as exc:
        raise RbeeError("BACKUP_INVALID", problem="what it holds cannot be read") from exc
    for name in files:
        if name not in FILES and not _MANIFEST.fullmatch(name):
            problem = f"it holds {name[:80]!a}, which is no file that rbee keeps"
            raise RbeeError("BACKUP_INVALID", problem=problem)
    return Backup(files, head.rbee, head.made_at)
