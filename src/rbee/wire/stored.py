"""What the hive answers to the calls about its store that `wire.control` has."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rbee.wire.control import ModelView, Problem


class Verified(msgspec.Struct, frozen=True):
    """What reading a stored model again found, and what was done about it."""

    model: ModelView
    chunks: int
    """Of 16 MiB each."""
    rotted: int = 0
    """Of those, damaged; all are right again."""
    fetched_bytes: int = 0
    whole: bool = False
    """The whole model was fetched again: its source does not give parts."""


class Leftover(msgspec.Struct, frozen=True):
    """`name`: `sha256:…` of an unnamed file, or the folder of a partial download."""

    name: str
    size_bytes: int
    touched_at: float
    busy: bool = False
    """Somebody is at it now."""


class Stock(msgspec.Struct, frozen=True):
    """What lies in a store beside its models, and room for more."""

    free_bytes: int
    unnamed: tuple[Leftover, ...] = ()
    """Files that no readable manifest names: nothing but a person's word removes them."""
    partials: tuple[Leftover, ...] = ()
    """Downloads that are under way or can be resumed."""


class Pruned(msgspec.Struct, frozen=True):
    """What a prune removed, or would remove."""

    chosen: tuple[ModelView, ...]
    """Least recently used first."""
    before_bytes: int
    after_bytes: int
    kept: Mapping[str, str] = {}
    """Models that are never pruned now, and why."""


class Imported(msgspec.Struct, frozen=True):
    """What became of one file that another program's cache holds."""

    path: str
    name: str = ""
    outcome: str = "linked"
    """`linked`, `here` (it was already), `refused`."""
    size_bytes: int = 0
    digest_known: bool = False
    """Whether that cache knew its digest, and the file has it."""
    problem: Problem | None = None


class Compared(msgspec.Struct, frozen=True):
    """A stored model, and what its source has now."""

    name: str
    digest: str
    now_digest: str = ""
    """Empty: the source does not say."""
    now_revision: str = ""
    outdated: bool = False
    problem: Problem | None = None
    """Why its source could not be asked."""
