"""Screens on stderr: marks, one live line, tables. Tokens go to stdout and never through here.

A terminal gets one live line, redrawn at most 4 times a second and erased. Anything else gets a
line per change, at least every 10 s, with the UTC time in front. What takes less than 300 ms shows
nothing at all.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rbee.errors import human_bytes

QUIET_S = 0.3
REDRAW_S = 0.25
AGAIN_S = 10.0
_BAR, _LEAST_BAR, _LEAST_NAME = 24, 6, 12


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands before a line."""

    happening: str
    done: str
    other: str
    failed: str
    then: str


FANCY = Marks("·", "✓", "!", "✗", "→")
PLAIN = Marks(".", "+", "!", "x", ">")


def marks_for(stream: TextIO, environment: Mapping[str, str]) -> Marks:
    """`✓ ! ✗ →` on a terminal that can show them, `+ ! x >` anywhere else."""
    plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    utf8 = (getattr(stream, "encoding", "") or "").lower().replace("-", "") == "utf8"
    return PLAIN if plain or not utf8 or not stream.isatty() else FANCY


class Screen:
    """What a person sees of one command."""

    def __init__(
        self,
        stream: TextIO,
        *,
        json: bool,
        marks: Marks,
        terminal: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self.json = json
        self.marks = marks
        self.terminal = terminal
        self.width = shutil.get_terminal_size().columns if terminal else 100
        self._step = ""
        self._begun_at = 0.0
        self._drawn_at = float("-inf")
        self._drawn = ""
        self._shown = ""

    @classmethod
    def on(cls, stream: TextIO, *, json: bool = False) -> Screen:
        terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        return cls(stream, json=json, marks=marks_for(stream, os.environ), terminal=terminal)

    @property
    def columns(self) -> int:
        """What a live line has, after its mark."""
        return max(18, self.width - 3)

    def mark(self, kind: str, text: str) -> None:
        """A lasting line: `happening`, `done`, `other` or `failed`. Nothing under --json."""
        self.line(f"{getattr(self.marks, kind)} {text}")

    def line(self, text: str = "") -> None:
        """A lasting line as it is. Nothing under --json."""
        if self.json:
            return
        self.clear()
        self._write(text + "\n")

    def fact(self, value: Mapping[str, Any]) -> None:
        """The same as an object, under --json only."""
        if self.json:
            self._write(json.dumps(value, ensure_ascii=False) + "\n")

    def live(self, step: str, text: str) -> None:
        """What is happening now. `step` names it: the first 300 ms of a step show nothing."""
        if self.json:
            return
        now = self._clock()
        if step != self._step:
            self._step, self._begun_at, self._shown = step, now, ""
        if now - self._begun_at < QUIET_S or text == self._shown:
            return
        every_s = REDRAW_S if self.terminal else AGAIN_S
        fresh_step = not self._shown and not self.terminal
        if now - self._drawn_at < every_s and not fresh_step:
            return
        self._drawn_at, self._shown = now, text
        self._draw(text)

    def clear(self) -> None:
        """Erase the live line."""
        if self._drawn:
            self._write("\r\x1b[2K")
            self._drawn = ""

    def _draw(self, text: str) -> None:
        if not self.terminal:
            self._write(f"{time.strftime('%H:%M:%SZ', time.gmtime())} {text}\n")
            return
        line = f"{self.marks.happening} {text}"[: max(20, self.width - 1)]
        self._write(f"\r\x1b[2K{line}")
        self._drawn = line

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except UnicodeEncodeError:
            self._stream.write(text.encode("ascii", "replace").decode())
            self._stream.flush()


def progress(name: str, done_bytes: int, total_bytes: int, rate: float, *, columns: int = 0) -> str:
    """`smollm2:135m   ████░░  62 %   58 of 94 MiB   11 MiB/s   3 s left`; `rate` in bytes a
    second, 0: not known. In so many columns (0: any) the numbers have their place first, then the
    name, then a bar."""
    parts, share = [], -1.0
    if total_bytes > 0:
        share = min(1.0, done_bytes / total_bytes)
        parts.append(f"{share * 100:.0f} %")
        parts.append(f"{human_bytes(done_bytes)} of {human_bytes(total_bytes)}")
    elif done_bytes:
        parts.append(human_bytes(done_bytes))
    if rate:
        parts.append(f"{human_bytes(int(rate))}/s")
        if total_bytes > done_bytes:
            parts.append(f"{duration((total_bytes - done_bytes) / rate)} left")
    if columns:
        left = columns - len("   ".join(["", *parts]))
        name = _shortened(name, max(_LEAST_NAME, left))
        cells = min(_BAR, left - len(name) - 3)
        if share >= 0 and cells >= _LEAST_BAR:
            parts.insert(0, "█" * round(share * cells) + "░" * (cells - round(share * cells)))
    return "   ".join([name, *parts])


def _shortened(name: str, most: int) -> str:
    """Its beginning and its end, which tell models of one place apart."""
    if len(name) <= most:
        return name
    tail = most * 2 // 3
    return f"{name[: most - tail - 1]}…{name[-tail:]}"


def duration(seconds: float) -> str:
    """`0.4 s`, `9 s`, `2 m 31 s`, `1 h 5 m`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60} s" if whole % 60 else f"{whole // 60} m"
    return f"{whole // 3600} h {whole % 3600 // 60} m"


def day(at: float) -> str:
    """`2026-11-24 12:00`, in this place's time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Columns as wide as they must be; those in `right` end flush. Ends without a newline."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in enumerate(row)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def put(value: object) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def safe(text: str) -> str:
    """Without control characters: what strangers wrote must not steer a terminal."""
    return "".join(
        letter if letter in "\n\t" or (ord(letter) >= 32 and not 127 <= ord(letter) < 160) else "�"
        for letter in text
    )
