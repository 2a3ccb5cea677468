"""When the command line leaves a distant rbee alone: after five dials in a row that failed, for a
minute; then one dial is let through, and only its success opens the way again.

Commands are short, so what they know is handed on in a file. Its clock is the machine's uptime: all
processes share it, and setting the time does not move it. After a reboot it begins anew; a time
that lies ahead is of an earlier boot and counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

OPENS_AFTER = 5
ROW_S = 60.0
"""Failures further apart than this are not in a row; the longest pause between dials is 24 s."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of one address."""

    failures: int = 0
    """In a row."""
    failed_at: float = 0.0
    """The last failure, or the moment at which somebody was let through to try."""


CLEAR = Line()


@dataclass(frozen=True, slots=True)
class Dial:
    """Try it. `line` is what others are to know meanwhile."""

    line: Line
    trial: bool = False
    """The line is open; this is the one dial that is let through."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Leave it alone."""

    failures: int
    wait_s: float


def decide(line: Line, now: float, *, open_s: float) -> Dial | Hold:
    """Whether a command may dial."""
    if line.failures < OPENS_AFTER or now < line.failed_at:
        return Dial(CLEAR if now < line.failed_at else line)
    left_s = line.failed_at + open_s - now
    if left_s > 0:
        return Hold(line.failures, left_s)
    return Dial(Line(line.failures, now), trial=True)


def failed(line: Line, now: float) -> Line:
    """One dial more that failed. Failures that lie far apart are not in a row."""
    near = 0 <= now - line.failed_at <= ROW_S
    return Line(line.failures + 1 if near else 1, now)
