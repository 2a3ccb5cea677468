"""What happened: every fault, what was done about it and how it ended (`rbee events`).

The newest are kept in memory, all are appended to `state/events.jsonl` by a thread of its own, so
that a slow disk never holds up the loop. The file is bounded: it is turned over once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from rbee.edge.events_file import append_line, read_tail
from rbee.wire.control import Happened
from rbee.wire.unreadable import UNREADABLE

_KEPT = 2000
_FILE_BYTES = 4 << 20


class Events:
    """The log of faults; followers get what comes after they asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recent: deque[Happened] = deque(maxlen=_KEPT)
        self._followers: set[asyncio.Queue[Happened]] = set()
        self._open: dict[str, Happened] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="events")

    def load(self) -> None:
        """Remember the newest of earlier lives; lines that cannot be read are passed over."""
        for line in read_tail(self._path, _KEPT):
            try:
                self._remember(msgspec.json.decode(line, type=Happened))
            except UNREADABLE:
                continue

    def add(self, happened: Happened) -> None:
        self._remember(happened)
        for follower in self._followers:
            if follower.qsize() < _KEPT:
                follower.put_nowait(happened)
        line = msgspec.json.encode(happened) + b"\n"
        self._writer.submit(append_line, self._path, line, _FILE_BYTES)

    def recent(self, *, code: str = "", job: str = "") -> list[Happened]:
        """Oldest first."""
        return [one for one in self._recent if matches(one, code=code, job=job)]

    def open_of(self, subject: str) -> Happened | None:
        """The newest fault of it whose end was not told."""
        return self._open.get(subject)

    def follow(self) -> asyncio.Queue[Happened]:
        queue: asyncio.Queue[Happened] = asyncio.Queue()
        self._followers.add(queue)
        return queue

    def unfollow(self, queue: asyncio.Queue[Happened]) -> None:
        self._followers.discard(queue)

    def close(self) -> None:
        self._writer.shutdown(wait=True)

    def _remember(self, happened: Happened) -> None:
        self._recent.append(happened)
        if happened.outcome == "open" and happened.subject:
            self._open[happened.subject] = happened
        elif happened.outcome == "ok":
            self._open.pop(happened.subject, None)


def matches(happened: Happened, *, code: str, job: str) -> bool:
    """Whether it is of this code and job; empty: any. A job is also meant by its client's id."""
    return (not code or happened.code == code) and job in ("", happened.job, happened.request)
