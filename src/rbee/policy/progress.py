"""Liveness is progress: when an attempt that says nothing is given up.

Engines answer /health while wedged and look dead while busy. Bytes prove the
process (pings come every second), tokens and prompt progress prove the work. A server that somebody
else runs sends no pings and no progress: only its tokens say anything, so it gets longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rbee.settings import Limits, Timing

BATCHES_WAITED = 4
"""A machine that needs long for one batch is slow, not stuck: it gets the time of four."""


class Verdict(Enum):
    GO_ON = "go on"
    PROBE = "probe"
    """No byte for `silence_s`: ask the process whether it lives."""
    STALLED_BEFORE = "first token"
    STALLED_WITHIN = "token"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class Watch:
    """The clock readings of one attempt, in seconds of one monotonic clock."""

    last_byte_at: float
    last_progress_at: float
    tokens: int
    deadline_at: float | None = None
    client_waits: bool = True
    """False while our client does not read: that time counts against nobody."""
    batch_s: float = 0.0
    """The longest time between two signs of progress in the prompt; 0: not measured."""
    pings: bool = True
    """The engine says each second that it lives; an attached server does not."""


def judge(watch: Watch, *, now: float, limits: Limits, timing: Timing) -> Verdict:
    """What the watch says at `now`."""
    if watch.deadline_at is not None and now >= watch.deadline_at:
        return Verdict.DEADLINE
    if not watch.client_waits:
        return Verdict.GO_ON
    if now - watch.last_progress_at >= stall_limit_s(watch, limits, timing):
        return Verdict.STALLED_WITHIN if watch.tokens else Verdict.STALLED_BEFORE
    if watch.pings and now - watch.last_byte_at >= timing.silence_s:
        return Verdict.PROBE
    return Verdict.GO_ON


def stall_limit_s(watch: Watch, limits: Limits, timing: Timing) -> float:
    """How long no progress is borne: the setting, or more where batches are measured to be slow."""
    if not watch.pings:
        return timing.attached_token_s if watch.tokens else timing.attached_first_token_s
    return max(limits.stall_s, BATCHES_WAITED * watch.batch_s)
