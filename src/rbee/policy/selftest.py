"""Does a freshly loaded model compute what it computed before, and anything sensible at all: pure.

A damaged file or a sick device does not stop an engine: with 1000 flipped bits it loads and answers
`66666` with 200. So a worker makes TOKENS tokens greedily before it serves (an embedding worker one
vector), and `decide` says what follows. The first sound answer of a digest under one `key` is its
golden one; from then on every load must give the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

PROMPT = "Once"
"""Short, since it is paid for at each cold start, and continued by any model of language."""

TOKENS = 8
FEWEST_DIFFERENT = 3
_VECTOR_GRAIN = 1e-4
"""Vectors are compared and told apart in steps of this: engines repeat themselves far closer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run of the self-test gave."""

    tokens: tuple[int, ...]
    """Ids, or the first numbers of a vector in steps of 0.0001."""
    flaw: str = ""
    """Why no healthy model answers this; empty: it is sound."""


class File(StrEnum):
    """What is known of the file's bytes since the self-test failed to be as expected."""

    UNREAD = "not hashed again"
    GOOD = "hashed again: as it was stored"
    BAD = "hashed again: another one"


class Verdict(StrEnum):
    SERVE = "it answers as it did before"
    SERVE_FIRST = "the first answer, kept as the golden one"
    HASH_AGAIN = "its file is to be hashed again before anything is said"
    SERVE_CHANGED = "another answer from the same bytes: kept as the new golden one, and told"
    SERVE_NATURE = "the bytes are right and so is the processor: that is the model; told"
    SERVE_TRUSTED = "a person trusts it; told"
    NEXT_DEVICE = "the bytes are right, so the device is not"
    REFUSE_FILE = "its file is damaged"
    REFUSE = "nothing vouches for it"


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that the decision depends on."""

    last: Answer
    """The last run; the one before it was another one than the golden."""
    golden: Answer | None
    file: File
    vouched: bool
    """Whether somebody else vouches for the digest that the file is hashed against."""
    accelerated: bool
    """Whether it ran on anything but the processor."""
    trusted: bool
    """Served with --trust."""


def key(facts: Mapping[str, str]) -> str:
    """What a golden answer holds for, beside the digest: whatever may change a rounding."""
    return "; ".join(f"{name}={value}" for name, value in sorted(facts.items()))


def again(answer: Answer, golden: Answer | None) -> bool:
    """Whether a run is worth a second one: something is odd, and it may have been a moment's."""
    return answer != golden and (golden is not None or bool(answer.flaw))


def decide(seen: Seen) -> Verdict:
    """What follows from a self-test. A file that proved damaged is never served, trusted or not."""
    if seen.file is File.BAD:
        return Verdict.REFUSE_FILE
    if not seen.last.flaw:
        return _sound(seen)
    known_nature = seen.golden == seen.last and seen.vouched and not seen.accelerated
    if known_nature:
        return Verdict.SERVE_NATURE
    if seen.file is File.UNREAD:
        return Verdict.HASH_AGAIN
    if seen.vouched and seen.accelerated:
        return Verdict.NEXT_DEVICE
    was_sound = seen.golden is not None and not seen.golden.flaw
    if seen.vouched and not was_sound:
        return Verdict.SERVE_NATURE
    return Verdict.SERVE_TRUSTED if seen.trusted else Verdict.REFUSE


def _sound(seen: Seen) -> Verdict:
    if seen.golden is None:
        return Verdict.SERVE_FIRST
    if seen.golden == seen.last:
        return Verdict.SERVE
    return Verdict.HASH_AGAIN if seen.file is File.UNREAD else Verdict.SERVE_CHANGED


KEPT = frozenset({Verdict.SERVE_FIRST, Verdict.SERVE_CHANGED, Verdict.SERVE_NATURE})
"""Verdicts after which the answer is the golden one."""


def of_tokens(ids: Sequence[int], logprobs: Sequence[float | None], text: bytes) -> Answer:
    """The answer of a model of language. `logprobs`: of each id; an engine writes NaN as null."""
    kept = tuple(ids[:TOKENS])
    if not all(value is not None and math.isfinite(value) for value in logprobs):
        return Answer(kept, "its numbers are no numbers (NaN)")
    if len(set(kept)) < FEWEST_DIFFERENT:
        return Answer(kept, f"{len(set(kept))} different tokens in {TOKENS}")
    if not _is_text(text):
        return Answer(kept, "its text is no UTF-8")
    return Answer(kept)


def of_vector(numbers: Sequence[float | None]) -> Answer:
    """The answer of an embedding model."""
    finite = [value for value in numbers if value is not None and math.isfinite(value)]
    kept = tuple(round(value / _VECTOR_GRAIN) for value in finite[:TOKENS])
    if len(finite) < len(numbers) or not numbers:
        return Answer(kept, "its numbers are no numbers (NaN)")
    different = len({round(value / _VECTOR_GRAIN) for value in finite})
    if len(finite) >= TOKENS and different < FEWEST_DIFFERENT:
        return Answer(kept, "its vector says nothing: all its numbers are alike")
    return Answer(kept)


def of_refusal(problem: str) -> Answer:
    """The engine gave no answer that can be read."""
    return Answer((), problem)


def _is_text(data: bytes) -> bool:
    """UTF-8, but for a character that the end cut in two."""
    try:
        data.decode()
    except UnicodeDecodeError as problem:
        return problem.reason == "unexpected end of data"
    return True
