"""How much a key may ask in a minute: GCRA, the token bucket that needs one number as its state.

(ITU-T I.371, "virtual scheduling"; the same as in redis-cell and Go's throttled.) The number is the
time at which the bucket will be full again, on a clock that never jumps. A bucket holds a minute's
worth: who was quiet may ask it all at once, then it comes back evenly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

WINDOW_S = 60.0
_ROUNDING_S = 1e-6
"""Sums of fractions of a minute are not exact; nobody is refused for that."""

BYTES_PER_TOKEN = 4
"""English text in the tokenisers of present models; only for what is not counted yet."""
ANSWER_TOKENS = 256
"""Reserved for an answer whose request names no length; the true number is settled at its end."""

_LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict")


class Taken(msgspec.Struct, frozen=True):
    """It fits. `full_at` is the new state."""

    full_at: float


class Wait(msgspec.Struct, frozen=True):
    """It does not fit yet; after `wait_s` it does."""

    wait_s: float


def take(full_at: float, now: float, *, limit: int, cost: float = 1.0) -> Taken | Wait:
    """Decide on `cost` of `limit` a minute. A cost above the limit takes a whole, full bucket: it
    would never fit otherwise, and what it used beyond is paid when it is settled."""
    after = max(full_at, now) + min(cost, limit) * WINDOW_S / limit
    over_s = after - now - WINDOW_S
    return Taken(after) if over_s <= _ROUNDING_S else Wait(over_s)


def settled(full_at: float, *, limit: int, reserved: float, used: float) -> float:
    """The state once the true cost is known: the rest is given back, or the debt charged."""
    return full_at + (used - min(reserved, limit)) * WINDOW_S / limit


def left(full_at: float, now: float, *, limit: int) -> int:
    """What is in the bucket."""
    if full_at <= now:
        return limit
    return max(0, int((WINDOW_S - (full_at - now) + _ROUNDING_S) * limit / WINDOW_S))


def whole_s(wait_s: float) -> int:
    """Seconds for `Retry-After`: rounded up, as one who comes too early waits twice."""
    return max(1, math.ceil(wait_s))


def estimate(body_bytes: int, body: Mapping[str, Any]) -> int:
    """Tokens of a request before anybody has counted them: its text and the answer it allows."""
    asked = ANSWER_TOKENS
    for name in _LENGTHS:
        if name in body and _is_length(body[name]):
            asked = int(body[name])
            break
    return max(1, body_bytes // BYTES_PER_TOKEN) + asked


def reset_text(seconds: float) -> str:
    """A time as OpenAI writes it in its headers: `6m0s`, `1.5s`, `20ms`."""
    if seconds <= 0:
        return "0s"
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))}ms"
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m{rest}s"


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
