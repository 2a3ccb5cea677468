"""What each key has used of its limits; decided in `policy/ratelimit`, remembered here.

Kept in memory by key id, on a clock that never jumps: a queen that starts again starts with full
buckets. Tokens are reserved at the door by an estimate and settled when the answer is over.
"""

from __future__ import annotations

from collections.abc import Callable

from rbee.errors import RbeeError
from rbee.policy import ratelimit
from rbee.policy.keys import Caller, KeyLimits
from rbee.wire.usage import tokens_of

Headers = list[tuple[str, str]]
_MEAN_WEIGHT = 0.2


class _Used:
    """One key's state."""

    __slots__ = ("mean_s", "requests_full_at", "running", "tokens_full_at")

    def __init__(self) -> None:
        self.requests_full_at = 0.0
        self.tokens_full_at = 0.0
        self.running: dict[Place, float] = {}
        """Requests in work, oldest first, and since when."""
        self.mean_s = 1.0


class Place:
    """What one request takes; `leave` gives back what it did not need."""

    __slots__ = ("_answer_tokens", "_known", "_limits", "_prompt_tokens", "_reserved", "_used")

    def __init__(self, used: _Used, limits: KeyLimits, reserved: int) -> None:
        self._used = used
        self._limits = limits
        self._reserved = reserved
        self._prompt_tokens = 0
        self._answer_tokens = 0
        self._known = False

    def count(self, data: bytes, *, whole: bool = False) -> None:
        """Learn from one event of an answer, or from all of it, how many tokens it took. A whole
        answer that tells of none took none: not every route makes tokens."""
        if self._limits.tpm:
            prompt, answer = tokens_of(data)
            self._prompt_tokens = max(self._prompt_tokens, prompt)
            self._answer_tokens = max(self._answer_tokens, answer)
            self._known |= whole or prompt + answer > 0

    def leave(self, now: float, *, served: bool) -> None:
        """The request is over; said again, nothing happens. An answer that broke off before it told
        its numbers costs what was reserved, a request that was not served costs no tokens."""
        used = self._used
        since = used.running.pop(self, None)
        if since is None:
            return
        if served:
            used.mean_s += _MEAN_WEIGHT * (now - since - used.mean_s)
        if self._limits.tpm:
            true = self._prompt_tokens + self._answer_tokens
            if served and not self._known:
                true = self._reserved
            used.tokens_full_at = ratelimit.settled(
                used.tokens_full_at, limit=self._limits.tpm, reserved=self._reserved, used=true
            )


class Allowances:
    """All keys' use."""

    def __init__(self) -> None:
        self._used: dict[str, _Used] = {}

    def enter(self, caller: Caller, estimate: Callable[[], int], now: float) -> Place | None:
        """Let a request in; None: the key has no limits. `estimate` is asked only where tokens
        count. Raises RATE_LIMITED, and then the request has taken nothing."""
        limits = caller.limits
        if not limits.bounded:
            return None
        used = self._used.get(caller.key_id)
        if used is None:
            used = self._used[caller.key_id] = _Used()
        if limits.concurrent and len(used.running) >= limits.concurrent:
            raise _limited(caller, limits.concurrent, "requests at once", _soon_s(used, now))
        requests_at, tokens_at = used.requests_full_at, used.tokens_full_at
        reserved = 0
        if limits.rpm:
            found = ratelimit.take(requests_at, now, limit=limits.rpm)
            if isinstance(found, ratelimit.Wait):
                raise _limited(caller, limits.rpm, "requests a minute", found.wait_s)
            requests_at = found.full_at
        if limits.tpm:
            reserved = estimate()
            found = ratelimit.take(tokens_at, now, limit=limits.tpm, cost=reserved)
            if isinstance(found, ratelimit.Wait):
                raise _limited(caller, limits.tpm, "tokens a minute", found.wait_s)
            tokens_at = found.full_at
        used.requests_full_at, used.tokens_full_at = requests_at, tokens_at
        place = Place(used, limits, reserved)
        used.running[place] = now
        return place

    def headers(self, caller: Caller, now: float) -> Headers:
        """`x-ratelimit-*` in OpenAI's words, for the limits that the key has."""
        used = self._used.get(caller.key_id)
        if used is None:
            return []
        found: Headers = []
        limits = caller.limits
        if limits.rpm:
            found += _bucket(_REQUESTS, limits.rpm, used.requests_full_at, now)
        if limits.tpm:
            found += _bucket(_TOKENS, limits.tpm, used.tokens_full_at, now)
        return found

    def forget(self, key_id: str) -> None:
        """A key that is gone leaves nothing behind."""
        self._used.pop(key_id, None)


def _names(what: str) -> tuple[str, str, str]:
    return (
        f"x-ratelimit-limit-{what}",
        f"x-ratelimit-remaining-{what}",
        f"x-ratelimit-reset-{what}",
    )


_REQUESTS, _TOKENS = _names("requests"), _names("tokens")


def _bucket(names: tuple[str, str, str], limit: int, full_at: float, now: float) -> Headers:
    most, left, reset = names
    return [
        (most, str(limit)),
        (left, str(ratelimit.left(full_at, now, limit=limit))),
        (reset, ratelimit.reset_text(full_at - now)),
    ]


def _soon_s(used: _Used, now: float) -> float:
    """When the oldest of its requests should be over, by the mean of those that are."""
    oldest = next(iter(used.running.values()))
    return max(1.0, used.mean_s - (now - oldest))


def _limited(caller: Caller, limit: int, what: str, wait_s: float) -> RbeeError:
    after_s = ratelimit.whole_s(wait_s)
    return RbeeError(
        "RATE_LIMITED", key=caller.key_id, limit=limit, what=what, retry_after_s=after_s
    )
