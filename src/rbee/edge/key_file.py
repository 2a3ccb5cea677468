"""Keys on disk: `state/keys.json` (0600), written whole or not at all, and read into memory once.

The running queen is its owner. While none runs, the command line may write it, under the lock
that starts and stops rbee.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rbee.edge.disk import translated
from rbee.edge.private_file import read_small, write_private
from rbee.errors import RbeeError
from rbee.policy import keys
from rbee.wire.keys import KeyAsk, KeyRecord
from rbee.wire.unreadable import UNREADABLE

_ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 8
_SECRET_BYTES = 32
_SHOWN_PATH = Path("state") / "keys.json"
"""In errors: those also go over HTTP, where no path of a machine belongs."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `key` is shown once and then nowhere."""

    key: str
    record: KeyRecord


class KeyFile:
    """All keys of one home. What cannot be written has not happened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records: dict[str, KeyRecord] = {}

    def load(self) -> None:
        """Read what an earlier life kept. Raises KEYS_DAMAGED for a file that cannot be read:
        to take it for an empty one would open what it closes."""
        try:
            found = msgspec.json.decode(read_small(self._path), type=list[KeyRecord])
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, *UNREADABLE) as exc:
            told = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise RbeeError("KEYS_DAMAGED", problem=told) from exc
        self.records = {record.id: record for record in found}

    def create(self, ask: KeyAsk, now: float) -> NewKey:
        """A new key. Raises INVALID_REQUEST for what makes none, DISK_* if it cannot be kept."""
        if len(self.records) >= keys.MOST_KEYS:
            problem = f"{keys.MOST_KEYS} keys are kept already: rbee keys revoke ID --forget"
            raise RbeeError("INVALID_REQUEST", problem=problem)
        try:
            key, record = keys.make(
                ask, id_=self._fresh_id(), secret=secrets.token_hex(_SECRET_BYTES), now=now
            )
        except ValueError as exc:
            raise RbeeError("INVALID_REQUEST", problem=str(exc)) from exc
        self._replace({**self.records, record.id: record})
        return NewKey(key, record)

    def revoke(self, id_: str, now: float, *, forget: bool = False) -> KeyRecord:
        """From now on it opens nothing; done twice, the first time counts. `forget` removes the
        record too. Raises KEY_NOT_FOUND, DISK_*."""
        record = self.records.get(id_)
        if record is None:
            raise RbeeError("KEY_NOT_FOUND", key=id_[:100])
        revoked = msgspec.structs.replace(record, revoked_at=record.revoked_at or now)
        others = {**self.records, id_: revoked}
        if forget:
            del others[id_]
        self._replace(others)
        return revoked

    def _fresh_id(self) -> str:
        while True:
            id_ = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
            if id_ not in self.records:
                return id_

    def _replace(self, records: dict[str, KeyRecord]) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._path, msgspec.json.encode(list(records.values())))
        except OSError as exc:
            raise translated(exc, f"write to {_SHOWN_PATH}", _SHOWN_PATH) from exc
        self.records = records
