"""Names of worker processes: `w1`, `w2`, … never given twice in one home, over all hive lives."""

from __future__ import annotations

import os
from pathlib import Path

from rbee.edge.private_file import read_small


class WorkerIds:
    """The counter, kept in a file. If that is lost, it starts behind the names in `seen`."""

    def __init__(self, file: Path, seen: tuple[Path, ...] = ()) -> None:
        self._file = file
        self._last = self._read(seen)

    def next(self) -> str:
        """A new name."""
        self._last += 1
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text(str(self._last), encoding="ascii")
            os.replace(fresh, self._file)
        except OSError:
            # A full disk must not stop a restart; the name is still new in this life.
            return f"w{self._last}"
        return f"w{self._last}"

    def _read(self, seen: tuple[Path, ...]) -> int:
        try:
            return int(read_small(self._file))
        except (OSError, ValueError):
            names = [path.stem for folder in seen if folder.is_dir() for path in folder.iterdir()]
            return max((int(name[1:]) for name in names if name[1:].isdigit()), default=0)
