"""The journal of jobs: what was asked and every word of the answers, on the disk before it is sent.

SQLite in WAL mode, written by one thread: a commit takes 0.3 ms as a rule and 12 ms at times, which
the event loop never waits for. The loop gathers what there is to write and hands it over at most
every `EVERY_S`, one batch at a time, so that a slow disk makes batches larger and not more. In a
batch the text of a job is one row, however many tokens it has: what is done in Python while the
loop wants to run stays short.

A commit survives the death of the process. It is not forced through to the platter (`synchronous =
NORMAL`): after a loss of power the last moments may be missing, and whoever holds more text than
the journal is told so when they attach.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from rbee.edge import disk
from rbee.edge.database import opened, translated
from rbee.errors import RbeeError

EVERY_S = 0.02
"""Between two commits at least."""

_VERSION = 1
_FIRST = (
    # One process opens it, so the index of the WAL need not be a file that others map.
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA auto_vacuum = INCREMENTAL;"
    "PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 4194304"
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, record BLOB NOT NULL, outcome BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS texts (
    place INTEGER PRIMARY KEY, job INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS texts_by_job ON texts (job)
"""

_ResultT = TypeVar("_ResultT")

Told = Callable[[RbeeError | None], None]
"""Called on the loop once a change is on the disk, or with why it is not."""


class Writer(Protocol):
    """A job whose text grows."""

    @property
    def number(self) -> int:
        """Of the job, in the journal."""

    def take(self) -> bytes:
        """What is to be appended; called when a batch is made."""

    def kept(self, error: RbeeError | None) -> None:
        """What was taken last is on the disk, or will never be."""


@dataclass(frozen=True, slots=True)
class Found:
    """A job of an earlier life."""

    number: int
    record: bytes
    outcome: bytes | None
    text: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """What was there when the journal was opened."""

    jobs: tuple[Found, ...] = ()
    damage: str = ""
    """Why the journal before had to be moved aside; empty: it was whole, or there was none."""
    problem: RbeeError | None = None
    """Why there is no journal now. Each new batch tries again."""


@dataclass(slots=True)
class _Batch:
    """Changes that are committed together, in this order."""

    created: list[tuple[int, bytes]] = field(default_factory=list)
    texts: list[tuple[int, bytes]] = field(default_factory=list)
    ended: list[tuple[bytes, int]] = field(default_factory=list)
    erased: list[tuple[int]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.created or self.texts or self.ended or self.erased)


class Journal:
    """The journal of one queen. Its methods are called on the loop, and none of them waits but
    `open` and `close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._batch = _Batch()
        self._growing: dict[Writer, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self._last_at = float("-inf")
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_number = 0
        self._thread = _Thread(path, self._loop)
        self.on_damage: Callable[[str], None] = lambda damage: None
        """Told why a journal in use had to be begun anew."""

    async def open(self) -> Opening:
        """Read what earlier lives left."""
        answer: asyncio.Future[Opening] = self._loop.create_future()
        self._thread.put(self._thread.load, answer.set_result)
        found = await answer
        self._last_number = max((one.number for one in found.jobs), default=0)
        return found

    def create(self, record: bytes, told: Told) -> int:
        """Keep a new job; gives its number."""
        self._last_number += 1
        self._batch.created.append((self._last_number, record))
        self._batch.told.append(told)
        self._soon()
        return self._last_number

    def grow(self, writer: Writer) -> None:
        """The job has more text than the journal."""
        if writer not in self._growing:
            self._growing[writer] = None
            self._soon()

    def end(self, number: int, outcome: bytes, told: Told) -> None:
        """Keep how a job ended, after all its text."""
        self._batch.ended.append((outcome, number))
        self._batch.told.append(told)
        self._soon()

    def erase(self, number: int) -> None:
        """Forget a job: its bytes are overwritten."""
        self._batch.erased.append((number,))
        self._soon()

    async def close(self) -> None:
        """Write what is left, and end."""
        await self._idle.wait()
        await self._thread.end()

    def _soon(self) -> None:
        self._idle.clear()
        if self._timer is None and not self._writing:
            at = max(self._loop.time(), self._last_at + EVERY_S)
            self._timer = self._loop.call_at(at, self._hand_over)

    def _hand_over(self) -> None:
        self._timer = None
        batch, self._batch = self._batch, _Batch()
        growing, self._growing = list(self._growing), {}
        batch.texts = [(writer.number, writer.take()) for writer in growing]
        batch.told = [*(writer.kept for writer in growing), *batch.told]
        self._writing = True
        self._last_at = self._loop.time()
        self._thread.put(
            lambda: self._thread.commit(batch), lambda result: self._done(batch, *result)
        )

    def _done(self, batch: _Batch, error: RbeeError | None, damage: str) -> None:
        self._writing = False
        if error is not None:
            # An end that is not kept would run the job again after a restart: it is owed.
            self._batch.ended[:0] = batch.ended
            self._batch.erased[:0] = batch.erased
        if damage:
            self.on_damage(damage)
        for told in batch.told:
            told(error)
        if self._growing or self._batch.created or self._batch.told:
            self._soon()
        else:
            self._idle.set()


class _Thread:
    """The one thread that touches the file."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._loop = loop
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()
        self._open = ExitStack()
        self._connection: sqlite3.Connection | None = None
        self._damage = ""

    def put(self, work: Callable[[], _ResultT], done: Callable[[_ResultT], None]) -> None:
        """Have it done there; `done` gets its result on the loop."""

        def run() -> None:
            result = work()
            self._loop.call_soon_threadsafe(done, result)

        self._work.put(run)

    async def end(self) -> None:
        self.put(self._close, lambda _: None)
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)

    def load(self) -> Opening:
        try:
            connection = self._connected()
            texts: dict[int, list[bytes]] = {}
            for job, data in connection.execute("SELECT job, data FROM texts ORDER BY place"):
                texts.setdefault(job, []).append(data)
            rows = connection.execute("SELECT number, record, outcome FROM jobs ORDER BY number")
            jobs = tuple(
                Found(number, record, outcome, b"".join(texts.pop(number, ())))
                for number, record, outcome in rows
            )
            connection.executemany("DELETE FROM texts WHERE job = ?", [(job,) for job in texts])
            connection.commit()
        except (sqlite3.Error, OSError) as exc:
            return Opening(problem=self._failed(exc))
        damage, self._damage = self._damage, ""
        return Opening(jobs, damage)

    def commit(self, batch: _Batch) -> tuple[RbeeError | None, str]:
        try:
            connection = self._connected()
            if batch.created:
                connection.executemany("INSERT INTO jobs VALUES (?, ?, NULL)", batch.created)
            if batch.texts:
                connection.executemany("INSERT INTO texts (job, data) VALUES (?, ?)", batch.texts)
            if batch.ended:
                connection.executemany("UPDATE jobs SET outcome = ? WHERE number = ?", batch.ended)
            if batch.erased:
                connection.executemany("DELETE FROM texts WHERE job = ?", batch.erased)
                connection.executemany("DELETE FROM jobs WHERE number = ?", batch.erased)
            connection.commit()
            if batch.erased:
                _give_back(connection)
        except (sqlite3.Error, OSError) as exc:
            return self._failed(exc), self._damage
        damage, self._damage = self._damage, ""
        return None, damage

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.fchmod(descriptor, 0o600)
            os.close(descriptor)
            found = self._open.enter_context(opened(self._path, _SCHEMA, _VERSION, first=_FIRST))
            self._connection = found.connection
            self._damage = found.problem
        return self._connection

    def _failed(self, exc: sqlite3.Error | OSError) -> RbeeError:
        """Let go of the file, so that the next batch opens and checks it again."""
        if isinstance(exc, OSError):
            error = disk.translated(exc, "write to", self._path)
        else:
            error = translated(exc, self._path)
        self._close()
        return error

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.rollback()
            self._open.close()
        except sqlite3.Error:
            connection.close()
        self._open = ExitStack()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def _give_back(connection: sqlite3.Connection) -> None:
    """Pages that nobody uses go back to the disk; with the last job, the log of changes too."""
    if connection.execute("SELECT 1 FROM jobs LIMIT 1").fetchone() is None:
        # `execute` would do a single step of it, which is one page.
        connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")
