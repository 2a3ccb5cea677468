"""What became of each request, and what must not have happened to any."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class End(StrEnum):
    """How a request ended, as its client saw it."""

    FINISHED = "finished"
    EXACT = "finished, spliced exactly"
    CONTINUED = "finished, continued"
    REFUSED = "refused with a code"
    ENDED = "ended with a code"
    LEFT = "left by its client"
    CUT = "cut with the queen"
    """No job, and the queen itself was killed or not there: nobody could have told."""
    LOST = "lost"


@dataclass(frozen=True)
class Result:
    """The end of one request."""

    end: End
    code: str = ""
    note: str = ""
    """What a person must know of one that is lost."""
    twice: str = ""
    """How its text differs from the one that nothing interrupted."""


@dataclass(frozen=True)
class Gone:
    """A time in which the queen was not there."""

    began: float
    ended: float
    killed: bool
    """By SIGKILL: what it was at could not be told."""


@dataclass
class Ledger:
    """All results. Any thread adds."""

    began: float = field(default_factory=time.monotonic)
    ends: Counter[End] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    codes: dict[End, Counter[str]] = field(
        default_factory=lambda: {End.REFUSED: Counter(), End.ENDED: Counter()}
    )
    wrong: dict[str, list[str]] = field(
        default_factory=lambda: {
            name: [] for name in ("lost", "tokens twice", "orphans", "mistakes", "left busy")
        }
    )
    """Each must be empty at the end."""
    gone: list[Gone] = field(default_factory=list)
    deeds: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    """The first answer of each code."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, result: Result) -> None:
        with self._lock:
            self.kinds[kind] += 1
            self.ends[result.end] += 1
            if result.end in self.codes:
                self.codes[result.end][result.code] += 1
                self.notes.setdefault(result.code, f"at {self.now_s:.1f} s, {kind}: {result.note}")
            if result.end is End.LOST:
                self.bad("lost", f"{kind}: {result.note}")
            if result.code == "INTERNAL":
                self.bad("mistakes", f"{kind}: INTERNAL {result.note}")
            if result.twice:
                self.bad("tokens twice", f"{kind}: {result.twice}")

    def bad(self, what: str, words: str) -> None:
        """Something that must not be, with when it was."""
        self.wrong[what].append(f"at {self.now_s:.1f} s, {words}")

    def did(self, words: str) -> None:
        self.deeds.append(f"{self.now_s:7.1f} s  {words}")
        print(self.deeds[-1], flush=True)

    @property
    def now_s(self) -> float:
        return time.monotonic() - self.began

    def was_gone(self, since: float, *, killed: bool) -> bool:
        """Whether the queen was not there at some time since then (`killed`: by SIGKILL)."""
        return any(one.ended >= since and (one.killed or not killed) for one in self.gone)

    @property
    def clean(self) -> bool:
        return not any(self.wrong.values())

    def lines(self) -> list[str]:
        """The reckoning."""
        found = [f"{sum(self.ends.values()):6} asked"]
        found += [f"{self.ends[end]:6} {end}{self._by_code(end)}" for end in End]
        found += [f"{len(self.wrong[name]):6} {name}" for name in self.wrong if name != "lost"]
        return found

    def _by_code(self, end: End) -> str:
        codes = self.codes.get(end)
        if not codes:
            return ""
        return ": " + ", ".join(f"{count} {code}" for code, count in codes.most_common())
