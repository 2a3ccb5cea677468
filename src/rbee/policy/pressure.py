"""How long the waiting lines may be while the machine is under strain: short memory, or a GPU that
is too hot.

Who waits holds its request's body and its connection, and each answer that begins needs memory of
its own. Halved at each sign of pressure, one place back in each 5 s without: the rule that networks
proved (additive increase, multiplicative decrease).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

SOME_AVG10_PERCENT = 20.0
"""Share of the last 10 s in which some process stood still for memory (the kernel's PSI)."""
AVAILABLE_SHARE = 0.05
BACK_EVERY_S = 5.0
HALVE_EVERY_S = 10.0
"""`avg10` looks 10 s back: the same stall is not answered twice."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the kernel says; None: this kernel does not say it."""

    some_avg10_percent: float | None = None
    available_share: float | None = None
    hot: str = ""
    """Devices that are too hot, in words: they are answered in the same way."""

    @property
    def strain(self) -> str:
        """Why fewer may wait, as words; empty: nothing strains it."""
        return f"memory is short: {self.short}" if self.short else self.hot

    @property
    def short(self) -> str:
        """Why memory is short, as words; empty: it is not."""
        share = self.available_share
        if share is not None and share < AVAILABLE_SHARE:
            return f"{share:.1%} of it is available"
        stalled = self.some_avg10_percent
        if stalled is not None and stalled > SOME_AVG10_PERCENT:
            return f"programs stood still for it during {stalled:.0f} % of 10 s"
        return ""


@dataclass(frozen=True, slots=True)
class Bound:
    """The present limit of a line, and when it was changed last."""

    limit: int
    halved_at: float = float("-inf")
    grown_at: float = float("-inf")


def judge(bound: Bound, memory: Memory, *, full: int, now: float) -> Bound:
    """The limit from now on. It stays between 1 and `full`; a `full` of 0 stays 0."""
    if memory.strain:
        if now - bound.halved_at < HALVE_EVERY_S:
            return replace(bound, grown_at=now)
        return Bound(min(full, max(1, bound.limit // 2)), halved_at=now, grown_at=now)
    if bound.limit >= full:
        return replace(bound, limit=full)
    places = int((now - bound.grown_at) // BACK_EVERY_S)
    if places <= 0:
        return bound
    limit = min(full, bound.limit + places)
    return replace(bound, limit=limit, grown_at=bound.grown_at + places * BACK_EVERY_S)
