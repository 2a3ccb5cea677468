"""Has a model fetched by rbee, with progress on the screen."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rbee.errors import human_bytes
from rbee.keeper.connection import Connection
from rbee.keeper.render import Screen, duration, progress

_PHASES = {
    "resolving": "looking it up",
    "waiting for another download": "another download of it is waited for",
    "paused: disk full": "paused until the disk has room",
    "verifying": "verifying",
    "repairing": "fetching what rotted",
    "unpacking": "unpacking",
}

_OF_SOURCES = ("hf:", "ollama:", "pypi:")


def is_path(model: str) -> bool:
    """Whether a person means a file: `./x.gguf`, `~/x.gguf`, `/x/y.gguf`, `x.gguf`."""
    return model.startswith(("/", "./", "../", "~")) or (
        model.endswith(".gguf") and "://" not in model and not model.startswith(_OF_SOURCES)
    )


def full_name(model: str) -> str:
    """A path as rbee must see it, which runs in another folder; other names as they are."""
    if not is_path(model):
        return model
    return os.path.abspath(Path(model).expanduser())


def fetch(connection: Connection, model: str, screen: Screen) -> dict[str, Any]:
    """The stored model, fetched if it was not here. Ctrl-C hangs up, which stops the fetching.

    Raises MODEL_NOT_FOUND, SOURCE_…, DISK_…, MODEL_CORRUPTED as rbee says.
    """
    body = {"name": full_name(model)}
    return dict(follow(connection, "/rbee/models/pull", body, screen, model))


def follow(
    connection: Connection, path: str, body: Mapping[str, Any], screen: Screen, label: str
) -> Any:
    """What a long act on the store ends with; its progress is shown under `label`. Ctrl-C hangs
    up, which stops it. Raises what rbee says."""
    act = path.rsplit("/", 1)[-1]
    shown: dict[str, Any] = {"phase": "resolving", "done_bytes": 0, "total_bytes": 0}
    pace = Pace()

    def draw() -> None:
        rate = pace.rate(str(shown["phase"]), int(shown["done_bytes"]), time.monotonic())
        screen.live(f"{act} {shown['phase']}", _words(label, shown, rate, screen))

    lines = connection.lines("POST", path, body, on_tick=draw)
    try:
        for line in lines:
            if "progress" in line:
                shown = line["progress"]
                screen.fact({"progress": shown, "model": label})
                draw()
            elif "done" in line:
                screen.clear()
                return line["done"]
    finally:
        lines.close()  # type: ignore[attr-defined]
    raise connection.lost(ValueError())


class Pace:
    """How fast a phase gets on, by its last seconds: what was there before it began, and what a
    pause cost long ago, say nothing about the time that is left."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._phase = ""
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, phase: str, done_bytes: int, now: float) -> float:
        """Bytes a second; 0 until there is something to measure."""
        if phase != self._phase or (self._seen and done_bytes < self._seen[-1][1]):
            self._phase = phase
            self._seen.clear()
        self._seen.append((now, done_bytes))
        while len(self._seen) > 2 and now - self._seen[1][0] >= self._window_s:
            self._seen.popleft()
        begun_at, before_bytes = self._seen[0]
        return (done_bytes - before_bytes) / (now - begun_at) if now > begun_at else 0.0


def described(view: Mapping[str, Any], took_s: float) -> str:
    """`smollm2:135m   93.8 MiB in 8.9 s, sha256 verified`."""
    size = human_bytes(int(view["size_bytes"]))
    took = f" in {duration(took_s)}" if took_s >= 0.3 else ""
    linked = str(view["source"]).startswith(("file:", "/"))
    checked = "linked, not copied" if linked else "sha256 verified"
    return f"{view['name']}   {size}{took}, {checked}"


def _words(model: str, shown: Mapping[str, Any], rate: float, screen: Screen) -> str:
    phase = str(shown["phase"])
    if phase in _PHASES and not shown["done_bytes"]:
        return f"{model}   {_PHASES[phase]}"
    after = f"   {_PHASES[phase]}" if phase in _PHASES else ""
    columns = screen.columns - len(after) if screen.terminal else 0
    done_bytes, total_bytes = int(shown["done_bytes"]), int(shown["total_bytes"])
    return progress(model, done_bytes, total_bytes, rate, columns=columns) + after
