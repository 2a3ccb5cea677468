"""Byte ranges of HTTP (RFC 9110, section 14): asked for, and held against what was answered.

A range here is half-open, as in Python: `begin` is the first byte, `end` the one behind the last.
Servers and proxies answer ranges wrongly in every way there is; a byte is written to its place only
when the answer says, in the one form that the RFC allows, that it belongs there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PART_BYTES = 64 << 20
_LARGEST = 1 << 63
_RANGE = re.compile(r"bytes (0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})/(\*|0|[1-9][0-9]{0,18})")
_LENGTH = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes `begin` … `end` - 1."""

    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.begin

    @property
    def header(self) -> str:
        """The value of `Range`; only for a span that is not empty."""
        return f"bytes={self.begin}-{self.end - 1}"


@dataclass(frozen=True, slots=True)
class ContentRange:
    """What a 206 says that it holds."""

    span: Span
    total_bytes: int | None
    """Of the whole file; None: `*`, the server does not say."""


def parse_content_range(text: str) -> ContentRange | None:
    """`bytes 0-9/10` taken apart; None for whatever is not exactly that."""
    found = _RANGE.fullmatch(text.strip(" \t"))
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if last < first or last >= _LARGEST or (total is not None and last >= total):
        return None
    return ContentRange(Span(first, last + 1), total)


def content_length(headers: Mapping[str, str]) -> int | None:
    """The announced length of a body; None: none is announced, or it is no number.

    `headers` have lower-case names.
    """
    text = headers.get("content-length", "").strip()
    return int(text) if _LENGTH.fullmatch(text) else None


def plan(size_bytes: int, part_bytes: int = PART_BYTES) -> tuple[Span, ...]:
    """The parts of a file, in order: all of `part_bytes` but the last one, which may be shorter."""
    begins = range(0, size_bytes, part_bytes)
    return tuple(Span(begin, min(begin + part_bytes, size_bytes)) for begin in begins)


def fault_of_206(asked: Span, headers: Mapping[str, str], size_bytes: int) -> str:
    """What is wrong with a 206 to a request for `asked`, in words; empty: nothing.

    `headers` have lower-case names; `size_bytes` of the whole file, 0 if it is not known.
    """
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        return "the part was sent compressed"
    text = headers.get("content-range")
    if text is None:
        return "the part does not say which bytes it holds"
    found = parse_content_range(text)
    if found is None:
        return f"the part has the Content-Range {text[:80]!r}"
    if size_bytes and found.total_bytes not in (None, size_bytes):
        return f"the file has {found.total_bytes} bytes there, not {size_bytes}"
    if found.span != asked:
        return f"bytes {asked.begin}-{asked.end - 1} were asked for, {text[:80]!r} came"
    length = content_length(headers)
    if length is not None and length != asked.size_bytes:
        return f"a part of {asked.size_bytes} bytes announces {length}"
    return ""
