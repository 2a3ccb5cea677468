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
        self._begun: list[bytes] = []
        """Pieces of the event that is not complete: a large one is put together once."""
        self._begun_bytes = 0
        self._cr = b""
        """A CR at the very end may be half of a CR LF: it waits for the next chunk."""
        self._limit_bytes = limit_bytes

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completes. Raises EventTooLarge."""
        if self._cr or b"\r" in chunk:
            chunk = self._cr + chunk
            self._cr = b"\r" if chunk.endswith(b"\r") else b""
            chunk = chunk[: len(chunk) - len(self._cr)].replace(b"\r\n", b"\n")
        if self._begun:
            if b"\n\n" not in self._begun[-1][-1:] + chunk:
                self._keep(chunk)
                return []
            chunk = b"".join([*self._begun, chunk])
            self._begun, self._begun_bytes = [], 0
        parts = chunk.split(b"\n\n")
        self._keep(parts.pop())
        return [_parse(part) for part in parts]

    @property
    def pending(self) -> bool:
        """Whether an event was begun and not ended: at EOF, a cut."""
        return any(piece.strip() for piece in self._begun)

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._begun.append(piece)
            self._begun_bytes += len(piece)
            if self._begun_bytes > self._limit_bytes:
                raise EventTooLarge


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
