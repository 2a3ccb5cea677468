"""Server-sent events, taken apart as they arrive (WHATWG HTML, section 9.2.6).

Engines end lines with LF; CR LF is accepted too, as foreign servers send it.
"""

from __future__ import annotations

import msgspec


class EventTooLarge(Exception):
    """An event outgrew its bound; the stream cannot be trusted after it."""


class Event(msgspec.Struct, frozen=True):
    """One event: its bytes as they came (blank line included) and what they say."""

    raw: bytes
    data: bytes | None
    """None for a comment or an event without data."""
    name: bytes = b""


class Splitter:
    """Cuts a byte stream, split anywhere, into events."""

    def __init__(self, limit_bytes: int) -> None:
        self._rest = b""
        self._limit_bytes = limit_bytes

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completes. Raises EventTooLarge."""
        rest = self._rest + chunk
        if b"\r" in rest:
            # A CR at the very end may be half of a CR LF: it waits for the next chunk.
            held = b"\r" if rest.endswith(b"\r") else b""
            rest = rest[: len(rest) - len(held)].replace(b"\r\n", b"\n") + held
        parts = rest.split(b"\n\n")
        self._rest = parts.pop()
        if len(self._rest) > self._limit_bytes:
            raise EventTooLarge
        return [_parse(part) for part in parts]

    @property
    def pending(self) -> bool:
        """Whether an event was begun and not ended: at EOF, a cut."""
        return bool(self._rest.strip())


def _parse(block: bytes) -> Event:
    if block.startswith(b"data: ") and b"\n" not in block:
        # Nearly all events of nearly all engines.
        return Event(block + b"\n\n", block[6:])
    data: list[bytes] = []
    name = b""
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].strip()
    return Event(block + b"\n\n", b"\n".join(data) if data else None, name)


def encode(data: bytes, *, name: str = "") -> bytes:
    """One event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + data + b"\n\n"


def comment(words: str) -> bytes:
    """A comment that real clients survive: never bare, one line, no `: ping`."""
    return f": rbee {words}\n\n".encode()


DONE = b"data: [DONE]\n\n"
