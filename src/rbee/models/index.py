"""When each model was used last: all that the manifests do not say themselves.

The manifests are the truth. This index may be deleted, cut or overwritten at any time: it is made
again from them, and a model whose last use is lost counts as used when it was added.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rbee.edge.database import opened
from rbee.models.manifest import Manifest

_SCHEMA = """
CREATE TABLE IF NOT EXISTS models (
    name TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    used_at REAL NOT NULL
) STRICT
"""
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Known:
    """Last uses by name, in seconds since the epoch."""

    used_at: Mapping[str, float] = field(default_factory=dict)
    damage: str = ""
    """Why the index before had to be moved aside; empty: it was whole."""
    problem: str = ""
    """Why there is no index now (a read-only disk); last uses are those of the manifests."""


class Index:
    """The index of one store. Methods block, and never raise because of the index."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sync(self, manifests: Iterable[Manifest]) -> Known:
        """Make the index say what the manifests say; gives the last uses."""
        listed = list(manifests)
        added = {one.name: one.added_at for one in listed}
        rows = [(one.name, one.digest, one.size_bytes, one.added_at) for one in listed]
        try:
            with opened(self._path, _SCHEMA, _VERSION) as database:
                work = database.connection
                held = dict(work.execute("SELECT name, used_at FROM models"))
                gone = [(name,) for name in held if name not in added]
                work.executemany("DELETE FROM models WHERE name = ?", gone)
                work.executemany(
                    "INSERT INTO models VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE"
                    " SET digest = excluded.digest, size_bytes = excluded.size_bytes",
                    rows,
                )
                used_at = {name: held.get(name, at) for name, at in added.items()}
                return Known(used_at, damage=database.problem)
        except (sqlite3.Error, OSError) as exc:
            return Known(added, problem=str(exc))

    def touch(self, name: str) -> str:
        """It is used now. Gives why that could not be kept; empty: it was."""
        try:
            with opened(self._path, _SCHEMA, _VERSION) as database:
                database.connection.execute(
                    "UPDATE models SET used_at = ? WHERE name = ?", (time.time(), name)
                )
        except (sqlite3.Error, OSError) as exc:
            return str(exc)
        return ""
