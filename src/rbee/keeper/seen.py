"""The faults of this installation, from the log that rbee keeps under RBEE_HOME."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rbee.edge.events_file import read_tail
from rbee.edge.home import Home

_LINES = 5000
_NAMES = ("at", "code", "what", "done", "outcome")


def read_events(home: Home) -> Iterator[dict[str, Any]]:
    """Oldest first; a line that cannot be read is passed over."""
    path = home.state / "events.jsonl"
    older = path.with_name(path.name + ".1")
    for line in (*read_tail(older, _LINES), *read_tail(path, _LINES)):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and all(name in event for name in _NAMES):
            yield {"model": "", "worker": "", "job": "", **event}
