"""Files of wishes, read at a start: what cannot be read is put aside, not written over."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from rbee.edge.private_file import read_small
from rbee.errors import RbeeError
from rbee.wire.unreadable import UNREADABLE

_Wish = TypeVar("_Wish")


def read_wishes(path: Path, kind: type[list[_Wish]]) -> tuple[list[_Wish], RbeeError | None]:
    """The wishes; or none, and why: the file then stands beside, as NAME.damaged."""
    try:
        return msgspec.json.decode(read_small(path), type=kind), None
    except (FileNotFoundError, NotADirectoryError):
        return [], None
    except (OSError, *UNREADABLE) as exc:
        with suppress(OSError):
            path.replace(path.with_name(f"{path.name}.damaged"))
        told = exc.strerror if isinstance(exc, OSError) else str(exc)
        return [], RbeeError("WISHES_DAMAGED", file=path.name, problem=told)
