"""What runs low on a machine, told before it fails: once when it begins, and once when it ends."""

from __future__ import annotations

from dataclasses import dataclass

DESCRIPTORS_SHARE = 0.8
MEMORY_SHARE = 0.05
"""Of the memory: below that new work is held back as well (`policy.pressure`)."""

_ENDS_AT = 1.25
"""Enough again is a quarter more than too little, so that nothing flickers."""


@dataclass(frozen=True, slots=True)
class Level:
    """One thing that can run out."""

    what: str
    """As people say it: `open files`."""
    left: int
    least: int
    """Fewer left than this is low."""


@dataclass(frozen=True, slots=True)
class News:
    """Something became low, or is not low any more."""

    what: str
    left: int
    least: int
    low: bool


def descriptors(used: int, limit: int) -> Level:
    return Level("open files", limit - used, int(limit * (1 - DESCRIPTORS_SHARE)))


def memory(available_bytes: int, total_bytes: int) -> Level:
    return Level("memory (bytes)", available_bytes, int(total_bytes * MEMORY_SHARE))


def disk(free_bytes: int, reserve_bytes: int) -> Level:
    return Level("disk of the models (bytes)", free_bytes, reserve_bytes)


def judge(
    levels: tuple[Level, ...], low: frozenset[str]
) -> tuple[frozenset[str], tuple[News, ...]]:
    """What is low now, and what is new about it. `low`: what was."""
    now, news = set[str](), list[News]()
    for one in levels:
        was = one.what in low
        is_low = one.left < one.least * (_ENDS_AT if was else 1)
        if is_low:
            now.add(one.what)
        if is_low != was:
            news.append(News(one.what, one.left, one.least, is_low))
    return frozenset(now), tuple(news)
