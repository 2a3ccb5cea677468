"""Which models go when room is needed: least recently used first, and never one that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rbee.errors import RbeeError, human_bytes

_NAMED = 3
"""Models that a full disk's message offers: more would not be read."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored model as pruning sees it."""

    name: str
    ref: str
    files: Mapping[str, int]
    """Sizes of the store's own files by digest; a linked file of somebody else frees nothing."""
    used_at: float
    kept: str = ""
    """Why it stays whatever happens (`declared`, `pinned`, `loaded`); empty: it may go."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What goes, in order."""

    chosen: tuple[Candidate, ...]
    before_bytes: int
    after_bytes: int


def choose(candidates: Sequence[Candidate], keep_bytes: int) -> Choice:
    """As few models as bring the store's own files down to `keep_bytes`, if the kept ones let it.

    A file that two models share is counted once, and freed with the last of them.
    """
    left = list(candidates)
    before_bytes = after_bytes = _size(left)
    chosen = []
    for one in sorted(candidates, key=lambda one: one.used_at):
        if after_bytes <= keep_bytes:
            break
        without = [other for other in left if other is not one]
        if one.kept or _size(without) == after_bytes:
            continue
        left = without
        after_bytes = _size(left)
        chosen.append(one)
    return Choice(tuple(chosen), before_bytes, after_bytes)


def advised(error: RbeeError, candidates: Sequence[Candidate]) -> RbeeError:
    """A full disk, with what could be removed: names, sizes, last use. Others as they are."""
    if error.code != "DISK_FULL":
        return error
    offered = sorted((one for one in candidates if not one.kept and one.files), key=_by_use)[
        :_NAMED
    ]
    if not offered:
        return error
    told = [
        f"{one.name} ({human_bytes(_size([one]))}, used {_day(one.used_at)})" for one in offered
    ]
    facts = [
        {"name": one.name, "size_bytes": _size([one]), "used_at": one.used_at} for one in offered
    ]
    report = error.report
    return RbeeError.from_report(
        replace(
            report,
            means=f"{report.means} Least recently used: {', '.join(told)}.",
            action=f"rbee models rm {offered[0].name}   or set models_dir to a larger disk",
            details={**report.details, "removable": facts},
        )
    )


def _size(models: Sequence[Candidate]) -> int:
    files: dict[str, int] = {}
    for one in models:
        files.update(one.files)
    return sum(files.values())


def _by_use(one: Candidate) -> float:
    return one.used_at


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
