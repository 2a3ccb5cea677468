"""A body of many megabytes, read without holding up everybody else.

To make values of 16 MB takes 20 to 180 ms, in which nothing else runs, and nobody here looks at
most of them. So such a body is looked over in slices, between which others get their turn; then it
is cut into its members, and only the small ones are read. The large ones, as a rule the messages
with their pictures, go to the engine as the bytes that came.
"""

from __future__ import annotations

import codecs
from typing import Any

import msgspec

from rbee.errors import RbeeError
from rbee.wire.unreadable import UNREADABLE

LARGE_BYTES = 1 << 20
"""What is larger is read this way."""
SLICE_BYTES = 256 << 10
"""Looked over in 1 to 10 ms, whatever is in it."""
MOST_VALUES = 1 << 20
"""In one body: a prompt of a million tokens, or embeddings of 100,000 texts. Read in some 50 ms."""
MOST_PARTS = 1 << 17
"""Lists, objects and their members, which cost ten times as much each: 100,000 lists of tokens fit,
or 40,000 messages. Without these bounds 45 MB of `[],[],` held the loop for 6 s."""

_WHOLE_BYTES = 64 << 10
"""A member that is larger stays as it came."""
_MEMBER_BYTES = 64
"""What a member costs beside its text."""
_BRACKETS = b"[]{}"
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_OPENING = frozenset(b"[{")

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Survey:
    """What there is too much of in a body, told before anything is made of it. Fed in slices."""

    def __init__(self, nesting: int) -> None:
        self._nesting = nesting
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._in_text = False
        self._escaped = False
        """The slice before ended in a backslash."""
        self._depth = 0
        self._containers = 0
        self._colons = 0
        self._commas = 0

    def feed(self, part: bytes) -> None:
        """Look at the next slice. Raises INVALID_REQUEST saying what is wrong."""
        try:
            self._utf8.decode(part)
        except UnicodeDecodeError as exc:
            raise not_json(exc) from exc
        if self._escaped:
            part, self._escaped = part[1:], False
        if self._in_text and b'"' not in part and b"\\" not in part:
            return
        outside = self._outside_of_texts(part)
        self._containers += outside.count(b"[") + outside.count(b"{")
        self._colons += outside.count(b":")
        self._commas += outside.count(b",")
        problem = counted(self._containers, self._colons, self._commas)
        if problem is not None:
            raise RbeeError("INVALID_REQUEST", problem=problem)
        self._go_down(outside.translate(None, _ALL_BUT_BRACKETS))

    def _outside_of_texts(self, part: bytes) -> bytes:
        part = part.replace(b"\\\\", b"")
        if part.endswith(b"\\"):
            part, self._escaped = part[:-1], True
        pieces = part.replace(b'\\"', b"").split(b'"')
        outside = b"".join(pieces[int(self._in_text) :: 2])
        self._in_text ^= len(pieces) % 2 == 0
        return outside

    def _go_down(self, brackets: bytes) -> None:
        for bracket in brackets:
            self._depth += 1 if bracket in _OPENING else -1
            if self._depth > self._nesting:
                raise too_deep(self._nesting)
            if self._depth < 0:
                raise not_json("a bracket is closed that was not opened")


def members(body: bytes) -> dict[str, Any]:
    """The object in a body that was looked over; what is large in it stays `msgspec.Raw`.

    Raises INVALID_REQUEST saying what is wrong and where.
    """
    try:
        found = _members.decode(body)
        return {name: _small(value) for name, value in _affordable(found).items()}
    except msgspec.ValidationError as exc:
        raise RbeeError("INVALID_REQUEST", problem="The body must be a JSON object") from exc
    except UNREADABLE as exc:
        raise not_json(exc) from exc


def _small(value: msgspec.Raw) -> Any:
    return value if len(value) > _WHOLE_BYTES else msgspec.json.decode(value)


def _affordable(found: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    small_bytes = sum(
        _MEMBER_BYTES + len(value) for value in found.values() if len(value) <= _WHOLE_BYTES
    )
    if small_bytes > LARGE_BYTES:
        problem = f"The body holds more than {LARGE_BYTES >> 20} MiB of small fields"
        raise RbeeError("INVALID_REQUEST", problem=problem)
    return found


def counted(containers: int, colons: int, commas: int) -> str | None:
    """What is too much, if any: each value but the outermost follows a bracket or a comma."""
    if containers + colons > MOST_PARTS:
        return f"The body holds more than {MOST_PARTS:,} lists, objects and members"
    if containers + commas > MOST_VALUES:
        return f"The body holds more than {MOST_VALUES:,} values"
    return None


def too_deep(nesting: int) -> RbeeError:
    return RbeeError("INVALID_REQUEST", problem=f"The body is nested deeper than {nesting} levels")


def not_json(why: object) -> RbeeError:
    return RbeeError("INVALID_REQUEST", problem=f"The body is not JSON: {why}")
