"""A small SQLite file that may be lost at any time: nothing stands in it alone.

It is opened for each use and checked then; one that is damaged is moved aside and begun anew, and
the caller fills it again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rbee.edge import disk
from rbee.errors import RbeeError

_BUSY_S = 5.0
_ASIDE = ".damaged"
_PAGE_BYTES = 4096
_UNWRITABLE = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}
)
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True)
class Opened:
    """A database in use; committed at the end of the use."""

    connection: sqlite3.Connection
    problem: str = ""
    """Why the one before was moved aside; empty: it was whole, or there was none."""


@contextmanager
def opened(path: Path, schema: str, version: int, *, first: str = "") -> Iterator[Opened]:
    """The database of that file, with the tables of `schema` (made if they are missing); `first`
    are the pragmas that come before anything else.

    A file that is no database, fails SQLite's quick_check, or has another version is moved aside
    to `NAME.damaged` (one is kept). Raises sqlite3.Error for what is no damage: a lock held for
    5 s, a disk that is full or read-only.
    """
    problem = ""
    try:
        connection = _open(path, schema, version, first)
    except sqlite3.DatabaseError as exc:
        if getattr(exc, "sqlite_errorcode", None) not in _DAMAGED and not isinstance(exc, _Unfit):
            raise
        problem = str(exc)
        _move_aside(path)
        connection = _open(path, schema, version, first)
    with closing(connection):
        yield Opened(connection, problem)
        connection.commit()


def translated(error: sqlite3.Error, path: Path) -> RbeeError:
    """A refusal of SQLite in our words: the disk is full, read-only, forbidden, or broken."""
    kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    found = os.statvfs(path.parent)
    read_only = bool(found.f_flag & os.ST_RDONLY)
    if kind in _UNWRITABLE and not read_only and not os.access(path.parent, os.W_OK):
        return RbeeError("DISK_PERMISSION", act="write to", path=str(path))
    if read_only or kind == sqlite3.SQLITE_READONLY:
        return RbeeError("DISK_READ_ONLY", path=str(path))
    if kind == sqlite3.SQLITE_FULL or found.f_bavail == 0:
        free = disk.free_bytes(path.parent)
        return RbeeError("DISK_FULL", needed_bytes=_PAGE_BYTES, free_bytes=free, path=str(path))
    return RbeeError("DISK_IO", act="keep the database", problem=str(error), path=str(path))


class _Unfit(sqlite3.DatabaseError):
    """A database, and not one that we can use."""


def _open(path: Path, schema: str, version: int, first: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S)
    try:
        if first:
            connection.executescript(first)
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise _Unfit(said)
        if found not in (0, version):
            raise _Unfit(f"it is of version {found}, not {version}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"{schema}; PRAGMA user_version = {version}")
    except BaseException:
        connection.close()
        raise
    return connection


def _move_aside(path: Path) -> None:
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    path.replace(path.with_name(path.name + _ASIDE))
