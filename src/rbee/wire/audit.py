"""Who did what: one line of JSON for each act of administration, each bound to the line before.

`before` is the sha256 of the line before it, so that a line which is changed, taken out or put in
later shows. It shows slips and simple tampering; whoever may write the file can make all of it
anew, and only a copy elsewhere is proof against that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from rbee.wire.unreadable import UNREADABLE

_FIELDS = (
    *("model", "name", "worker", "what", "url", "id", "all", "replicas", "device", "fallback"),
    *("ctx", "parallel", "trust", "pinned", "keep_bytes", "remove", "roles", "forget"),
    *("expires_at", "rpm", "tpm", "concurrent", "keep_workers"),
)
"""Of a request: what was meant. Nothing that could be a secret is among them."""
_MOST_CHARACTERS = 200


class Act(msgspec.Struct, frozen=True):
    """One act, and how it ended: `ok` or an error code."""

    at: float
    who: str
    act: str
    of: str
    result: str
    before: str = ""


def line_of(act: Act, last: bytes) -> bytes:
    """The line for it, after the one that was last, without its end (empty: it is the first)."""
    bound = msgspec.structs.replace(act, before=_digest(last) if last else "")
    return msgspec.json.encode(bound) + b"\n"


def read_acts(lines: Sequence[bytes]) -> list[Act]:
    """Those that can be read."""
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Act))
        except UNREADABLE:
            continue
    return found


def broken_at(lines: Sequence[bytes]) -> int | None:
    """The number (from 1) of the first line that does not follow from the one before it; what came
    before the first of them was turned over and is not asked for."""
    for number, line in enumerate(lines, 1):
        try:
            act = msgspec.json.decode(line, type=Act)
        except UNREADABLE:
            return number
        if number > 1 and act.before != _digest(lines[number - 2]):
            return number
    return None


def said_of(asked: Mapping[str, Any]) -> str:
    """`model=tiny replicas=2`: what a request meant, without what may be secret."""
    parts = [f"{name}={_plain(asked[name])}" for name in _FIELDS if asked.get(name)]
    return " ".join(parts)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_plain(one) for one in value[:8])
    text = str(value)
    if "://" in text:
        # An address may carry a password before its host, or a token after its path.
        try:
            found = urlsplit(text)
            text = f"{found.scheme}://{found.netloc.rpartition('@')[2]}{found.path}"
        except ValueError:
            text = "an address that is none"
    kept = "".join(one if one.isprintable() else "�" for one in text[:_MOST_CHARACTERS])
    return kept if " " not in kept else f'"{kept}"'


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
