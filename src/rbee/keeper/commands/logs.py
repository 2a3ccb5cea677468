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
    ends = {path: path.stat().st_size for path in files}
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
                ends[path] = _print_new(path, ends.get(path, 0), json=asked.json)
    return 0


def _print_new(path: Path, seen: int, *, json: bool) -> int:
    """Whole lines after what was seen; returns how far it has read."""
    if path.stat().st_size < seen:
        seen = 0
    with path.open("rb") as log:
        log.seek(seen)
        whole, newline, _ = log.read().rpartition(b"\n")
    for line in whole.decode("utf-8", "replace").splitlines():
        _print(path, line, json=json)
    return seen + len(whole) + len(newline)


def _print(path: Path, line: str, *, json: bool) -> None:
    word = _WORDS[path.name]
    if json:
        put({"log": word, "line": line})
        return
    out: TextIO = sys.stdout
    out.write(f"{word:<8} {safe(line) if out.isatty() else line}\n")
    out.flush()
