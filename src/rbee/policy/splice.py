"""How an answer that broke off is taken up again: replayed, continued, or refused.

Tool calls, grammars, schemas and several choices are only ever replayed: a grammar that is gone on
from starts at its root again, and prose follows where a tool call was to end. Plain text is
continued where a replay could not be exact or would take longer than anybody likes to wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rbee.wire.transcript import Conditions

REPLAY_S = 2.0
"""The longest silence of a greedy answer for the sake of exactness."""
REPLAY_SAMPLED_S = 10.0
"""Of a sampled one: a continuation would be another draw."""
CACHE_SAVES_S = 0.5
"""What the engine's prompt cache must save to be worth the exactness that it costs."""
DEATHS_BLAMED = 2
"""Workers that one request may take down before it is not given to a third."""

_BLAMED = frozenset({"WORKER_CRASHED", "WORKER_OUT_OF_MEMORY", "GPU_ERROR", "GPU_OUT_OF_MEMORY"})
"""What a request can do to a worker; a kill from outside, a hang or a cut wire is not its doing."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An answer that broke off, before its next attempt."""

    plain: bool
    """Text of one choice, and nothing else was asked for or delivered."""
    sampled: bool
    exact_asked: bool
    """`X-Rbee-Exact: 1`."""
    delivered_tokens: int
    continued: bool
    """An earlier splice went on from text: no replay can meet what was delivered."""
    diverged: bool
    """A replay said something else."""
    unwilling: bool
    """An engine refused to go on from delivered text."""
    exact_possible: bool
    tokens_per_s: float
    """Of the attempt that broke off; 0: not measured."""

    @property
    def replay_s(self) -> float:
        """What a replay costs more than a continuation; both read the prompt."""
        return self.delivered_tokens / self.tokens_per_s if self.tokens_per_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Replay:
    exact: bool


@dataclass(frozen=True, slots=True)
class Continue:
    pass


@dataclass(frozen=True, slots=True)
class Refuse:
    why: str


def decide(cut: Cut) -> Replay | Continue | Refuse:
    """What the next attempt does with what the client has."""
    if cut.delivered_tokens == 0 and not cut.continued:
        return Replay(cut.exact_possible)
    if cut.exact_asked:
        if cut.diverged or cut.continued:
            return Refuse("another worker says something else")
        if not cut.exact_possible:
            return Refuse("no worker of the same file, build and settings is left")
        return Replay(exact=True)
    may_continue = cut.plain and not cut.unwilling
    if cut.continued or cut.diverged:
        return Continue() if may_continue else Refuse("another worker says something else")
    if not may_continue:
        return Replay(cut.exact_possible)
    limit_s = REPLAY_SAMPLED_S if cut.sampled else REPLAY_S
    if not cut.exact_possible or cut.replay_s > limit_s:
        return Continue()
    return Replay(exact=True)


def exact_possible(first: Conditions | None, second: Conditions) -> bool:
    """Whether `second`, run without a warm cache, gives the same text as `first` did.

    Measured: 24 of 24 where file, build, device and settings match and neither took tokens from the
    prompt cache; 2 of 24 against a warm one (docs/measured.md, Replay).
    """
    return (
        first is not None
        and first.cached_tokens == 0
        and bool(first.digest and first.settings)
        and (first.digest, first.build, first.device, first.settings)
        == (second.digest, second.build, second.device, second.settings)
    )


def runs_cold(
    *, shared_tokens: float, prefill_tokens_per_s: float, exact_asked: bool, asked: bool | None
) -> bool:
    """Whether an attempt is sent with `cache_prompt: false`: always, unless the cache would save
    more than half a second. `shared_tokens` is what the worker has likely read before."""
    if exact_asked:
        return True
    if asked is not None:
        return not asked
    if prefill_tokens_per_s <= 0:
        return True
    return shared_tokens / prefill_tokens_per_s <= CACHE_SAVES_S


@dataclass(frozen=True, slots=True)
class Death:
    """The end of an attempt, with the cause that was found."""

    worker: str
    code: str
    shared: bool = False
    """Other workers died at the same moment: the request is not to blame."""


def is_poison(deaths: Iterable[Death]) -> bool:
    """Whether this request has taken down so many workers that no other is given to it."""
    blamed = [one for one in deaths if one.code in _BLAMED and not one.shared]
    return len(blamed) >= DEATHS_BLAMED
