"""Acts of administration are written down: who, when, what, with what result (`rbee audit`).

A thread of its own writes, so that a slow disk never holds up the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from rbee.edge.audit_file import AuditFile, user_name
from rbee.edge.home import Home
from rbee.edge.http_server import Request
from rbee.wire.audit import Act, said_of
from rbee.wire.unreadable import UNREADABLE


class Audit:
    """The queen's side of the log of acts."""

    def __init__(self, home: Home, note: Callable[..., None]) -> None:
        self._file = AuditFile(home)
        self._note = note
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="audit")

    def asked(self, request: Request, key: str, deed: Mapping[str, str], result: str) -> None:
        """An act that a request asked for: with a key, or over the admin socket by a user of this
        machine."""
        act = request.path.removeprefix("/rbee/")
        told = [said_of(_body(request)), *(f"{name}={value}" for name, value in deed.items())]
        of = " ".join(one for one in told if one)
        at, uid = time.time(), request.uid
        who = f"key {key}" if key else ""
        # The name of a user may have to be asked for elsewhere: not on the loop.
        self._writer.submit(lambda: self._write(Act(at, who or user_name(uid), act, of, result)))

    def by(self, who: str, act: str, of: str, result: str) -> None:
        """A signal, a changed file."""
        at = time.time()
        self._writer.submit(lambda: self._write(Act(at, who, act, of, result)))

    def close(self) -> None:
        """What was told is written."""
        self._writer.shutdown(wait=True)

    def _write(self, act: Act) -> None:
        try:
            self._file.add(act)
        except OSError as exc:
            self._note("an act is not written down", act=act.act, problem=str(exc))


def _body(request: Request) -> dict[str, Any]:
    """What it asks; nothing, if that cannot be read."""
    try:
        return msgspec.json.decode(request.body or b"{}", type=dict[str, Any])
    except UNREADABLE:
        return {}
