"""What runs low on a machine, told before it fails: once when it begins, and once when it ends."""

from __future__ import annotations

from dataclasses import dataclass

DESCRIPTORS_SHARE = 0.8
MEMORY_SHARE = 0.05
"""Of the memory: below that new work is held back as well (`policy.pressure`)."""
IDLE_DISKS_PERCENT = 20
"""A load or a download that crawls then is no fault of its own."""

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
    passes: bool = False
    """It is over when others are done: nobody has to do anything."""


@dataclass(frozen=True, slots=True)
class News:
    """Something became low, or is not low any more."""

    what: str
    left: int
    least: int
    low: bool
    passes: bool = False


def descriptors(used: int, limit: int) -> Level:
    return Level("open files", limit - used, int(limit * (1 - DESCRIPTORS_SHARE)))


def memory(available_bytes: int, total_bytes: int) -> Level:
    return Level("memory (bytes)", available_bytes, int(total_bytes * MEMORY_SHARE))


def disk(free_bytes: int, reserve_bytes: int) -> Level:
    return Level("disk of the models (bytes)", free_bytes, reserve_bytes)


def idle_disks(some_avg10_percent: float) -> Level:
    """Of 10 s, how much the disks kept no program waiting (the kernel's PSI)."""
    left = 100 - round(some_avg10_percent)
    return Level(
        "time in which disks keep nobody waiting (percent)", left, IDLE_DISKS_PERCENT, True
    )


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
            news.append(News(one.what, one.left, one.least, is_low, one.passes))
    return frozenset(now), tuple(news)
