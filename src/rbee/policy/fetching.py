"""What an answer of a source means for a download, and when it is asked again.

A part that fails is asked for again after 0.1, 0.2 … 3.2 s, six times; the count starts anew
whenever 1 MiB was won, so that a bad line needs patience and not luck. What cannot change by asking
again (403, 404) is not asked again: the next source has its turn. Pure: dice and times are
arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from rbee.wire.ranges import Span, content_length, fault_of_206

FIRST_S = 0.1
TRIES = 6
GAIN_BYTES = 1 << 20
LONGEST_WAIT_S = 60.0
"""The most that a source's Retry-After is followed."""
FLOOR_BYTES_PER_S = 1024
"""A connection that brings less is no better than a dead one: a part of 64 MiB would take 18 h, and
another connection, or another source, is likely to do better. A 56k modem brings 5 times that."""

_STRONG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Part:
    """The body holds the bytes that were asked for."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The body is the whole file from its first byte: this source gives no parts."""

    size_bytes: int
    """0: not announced."""
    validator: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The file there is another one than before: what came of it goes with nothing to come."""

    problem: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Nothing can be taken from this answer. `code` is what is said if it stays so."""

    code: str
    problem: str
    again: bool
    """Whether asking again may help."""
    wait_s: float = 0.0
    """What the source wants to be waited for."""


def judge(
    status: int, headers: Mapping[str, str], *, asked: Span | None, size_bytes: int, validator: str
) -> Part | Whole | Changed | Fault:
    """What an answer means for a request for `asked` (None: for the whole file).

    `headers` have lower-case names. `size_bytes` and `validator` are what is known of the file: 0
    and "" if nothing is.
    """
    if status in (412, 416):
        return Changed(f"it answers {status}: the file there is another one now")
    if status not in (200, 206):
        return refusal(status, headers)
    if "html" in headers.get("content-type", "").lower():
        return Fault("SOURCE_BROKEN", "a web page came in place of the file", again=True)
    etag = strong_etag(headers)
    if validator and etag and etag != validator:
        return Changed("it changed while it was being fetched")
    if status == 206:
        if asked is None:
            return Fault("SOURCE_BROKEN", "a part came where the whole was asked for", again=True)
        wrong = fault_of_206(asked, headers, size_bytes)
        return Fault("SOURCE_BROKEN", wrong, again=True) if wrong else Part()
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        return Fault("SOURCE_BROKEN", "the file was sent compressed", again=True)
    length = content_length(headers)
    if size_bytes and length not in (None, size_bytes):
        problem = f"the file has {length} bytes there, not {size_bytes}"
        return Fault("SOURCE_BROKEN", problem, again=True)
    return Whole(length or 0, etag)


def refusal(status: int, headers: Mapping[str, str]) -> Fault:
    """What a status means that brings no bytes: neither 200 nor 206."""
    wait_s = retry_after_s(headers)
    if status in (401, 403, 407, 451):
        return Fault("SOURCE_FORBIDDEN", f"it answers {status}", again=False)
    if status in (404, 410):
        return Fault("SOURCE_NOT_FOUND", f"it answers {status}", again=False)
    if status == 429:
        return Fault("SOURCE_RATE_LIMITED", "it answers 429", again=True, wait_s=wait_s)
    again = status >= 500 or status in (408, 421, 425)
    return Fault("SOURCE_BROKEN", f"it answers {status}", again=again, wait_s=wait_s)


def strong_etag(headers: Mapping[str, str]) -> str:
    """The ETag, if equal ones mean equal bytes; a weak one, or what is none, is empty."""
    etag = headers.get("etag", "").strip()
    return etag if _STRONG.fullmatch(etag) else ""


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds from `Retry-After`, at most LONGEST_WAIT_S; a date is held against the answer's own
    `Date`, so that our clock need not be right. 0: nothing that can be followed is said."""
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
        since = parsedate_to_datetime(headers.get("date", ""))
        wait_s = (until - since).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after so many seconds; `tries` failed in a row, this one included."""

    after_s: float
    tries: int


@dataclass(frozen=True, slots=True)
class NextSource:
    """This source is spent: the next one's turn, or the end if there is none."""


def decide(fault: Fault, *, tries: int, gained_bytes: int, dice: float) -> Wait | NextSource:
    """What follows a fault.

    `tries`: how many failed in a row before; `gained_bytes`: what this try brought that was not
    there before; `dice` in [0, 1) spreads the pause over 0.5 to 1.5 times its length. A source is
    never asked before it wants to be.
    """
    if not fault.again:
        return NextSource()
    made = 1 if gained_bytes >= GAIN_BYTES else tries + 1
    if made > TRIES:
        return NextSource()
    return Wait(max(fault.wait_s, FIRST_S * 2.0 ** (made - 1) * (0.5 + dice)), made)


def trickles(received_bytes: int, waited_s: float, window_s: float) -> bool:
    """Whether a connection that was waited on for so long, our own pauses not counted, brought too
    little; nothing is said before `window_s`."""
    return waited_s >= window_s and received_bytes < FLOOR_BYTES_PER_S * waited_s
