"""`rbee logs`: what rbee's processes wrote on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rbee.edge.home import Home, default_home
from rbee.keeper.parsing import Parser, count_flag
from rbee.keeper.render import Screen, put, safe
from rbee.keeper.starting import log_tail

_WORDS = {"queen.log": "rbee", "hive.log": "machine", "keeper.log": "command"}
_FOLLOW_S = 0.2


def run(command: str, arguments: Sequence[str]) -> int:
    parser = Parser("logs", "What rbee wrote; a worker's engine: rbee workers logs.", remote=False)
    parser.add_argument("--follow", "-f", action="store_true")
    parser.add_argument("--lines", type=count_flag, default=50, metavar="N", help="of each log")
    asked = parser.parse(arguments)
    folder = Home(default_home()).logs
    files = [path for name in _WORDS if (path := folder / name).exists()]
    ends = {path: _end_of(path) for path in files}
    for path in files:
        for line in log_tail(path)[-asked.lines :]:
            _print(path, line, json=asked.json)
    if not files and not asked.json:
        Screen.on(sys.stderr).mark("happening", f"rbee has written nothing under {folder}")
    while asked.follow:
        time.sleep(_FOLLOW_S)
        for name in _WORDS:
            path = folder / name
            if path.exists():
                ends[path] = _print_new(path, ends.get(path, (0, 0)), json=asked.json)
    return 0


def _end_of(path: Path) -> tuple[int, int]:
    """Which file it is, and how large."""
    found = path.stat()
    return found.st_ino, found.st_size


def _print_new(path: Path, seen: tuple[int, int], *, json: bool) -> tuple[int, int]:
    """Whole lines after what was seen, of what was turned over meanwhile too; returns which file it
    has read, and how far."""
    inode, end = seen
    older = path.with_name(f"{path.name}.1")
    now, size = _end_of(path)
    if now != inode and older.exists() and _end_of(older)[0] == inode:
        _print_after(older, end, path, json=json)
    if now != inode or size < end:
        end = 0
    return now, end + _print_after(path, end, path, json=json)


def _print_after(file: Path, end: int, path: Path, *, json: bool) -> int:
    """Whole lines from there on; how many bytes they have."""
    with file.open("rb") as log:
        log.seek(end)
        whole, newline, _ = log.read().rpartition(b"\n")
    for line in whole.decode("utf-8", "replace").splitlines():
        _print(path, line, json=json)
    return len(whole) + len(newline)


def _print(path: Path, line: str, *, json: bool) -> None:
    word = _WORDS[path.name]
    if json:
        put({"log": word, "line": line})
        return
    out: TextIO = sys.stdout
    out.write(f"{word:<8} {safe(line) if out.isatty() else line}\n")
    out.flush()
