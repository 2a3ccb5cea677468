"""Golden answers of the self-test: what a digest computed when it was found sound.

    goldens/sha256-….json    of one digest: its answer under each key (engine, device, settings)

They stand beside the blobs, and only ever help to see a change: one that is lost or cannot be read
is taken anew at the next load.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from rbee.edge.disk import translated
from rbee.edge.private_file import read_small, write_private
from rbee.policy.selftest import Answer
from rbee.wire.unreadable import UNREADABLE

SCHEMA = 1
MOST_KEYS = 32
"""Of one digest: engines and settings that a person tried; the oldest goes first."""


class _Page(msgspec.Struct, frozen=True):
    schema: int
    goldens: dict[str, Answer]


class Goldens:
    """The folder of golden answers. Methods block: they run in a thread."""

    def __init__(self, models: Path) -> None:
        self._folder = models / "goldens"

    def of(self, digest: str) -> tuple[Mapping[str, Answer], str]:
        """Answers by key, and why there are none if their file is there and cannot be read."""
        path = self._path(digest)
        try:
            page = msgspec.json.decode(read_small(path), type=_Page)
        except FileNotFoundError:
            return {}, ""
        except (OSError, *UNREADABLE) as problem:
            return {}, f"golden answers in {path.name} cannot be read: {problem}"
        if page.schema != SCHEMA:
            return {}, f"golden answers in {path.name} are of another rbee (schema {page.schema})"
        return page.goldens, ""

    def keep(self, digest: str, key: str, answer: Answer) -> None:
        """From now on this is the golden answer under that key. Raises DISK_…"""
        kept = dict(self.of(digest)[0])
        kept.pop(key, None)
        kept[key] = answer
        newest = dict(list(kept.items())[-MOST_KEYS:])
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._path(digest), msgspec.json.encode(_Page(SCHEMA, newest)))
        except OSError as exc:
            raise translated(exc, "write to", self._folder) from exc

    def _path(self, digest: str) -> Path:
        return self._folder / (digest.replace(":", "-") + ".json")
