"""The queen's calls about a hive's store; they are part of `wire.control`. `wire.stored` has the
answers."""

from __future__ import annotations

import msgspec


class Verify(msgspec.Struct, frozen=True, tag="verify"):
    """Read a stored model again and mend what rotted; `Done` with `Verified`."""

    call: str
    ref: str


class TakeStock(msgspec.Struct, frozen=True, tag="stock"):
    """`Done` with `Stock`."""

    call: str


class Pin(msgspec.Struct, frozen=True, tag="pin"):
    """Whether a model may be pruned; `Done` with its ModelView."""

    call: str
    ref: str
    pinned: bool


class Prune(msgspec.Struct, frozen=True, tag="prune"):
    """Bring the store down to `keep_bytes`; `Done` with `Pruned`. Without `remove` it only says
    what it would do."""

    call: str
    keep_bytes: int
    remove: bool = False
    declared: tuple[str, ...] = ()
    """Names and refs that are never pruned."""


class Import(msgspec.Struct, frozen=True, tag="import"):
    """Link what another program holds; `Done` with a list of `Imported`; `Progress` on the way."""

    call: str
    what: str
    """`ollama`, `huggingface`, `lmstudio`, or an absolute path."""


class Outdated(msgspec.Struct, frozen=True, tag="outdated"):
    """Ask the sources what they have now; `Done` with a list of `Compared`."""

    call: str
