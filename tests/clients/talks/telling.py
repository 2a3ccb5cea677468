"""How a talk tells what its SDK saw: one JSON object a line on stdout.

A talk runs in the SDK's own environment, where nothing of ours but this file can be imported.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

KEY = os.environ.get("TALK_KEY", "any")
"""What the SDK sends as its key."""
_running = ""


def tell(**facts: Any) -> None:
    print(json.dumps({"talk": _running, **facts}), flush=True)


def told_error(error: Exception) -> None:
    """What an SDK makes of an error: its class and those above it, and what it keeps of ours."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    facts = {name: getattr(error, name, None) for name in ("code", "status_code", "request_id")}
    body = getattr(error, "body", None)
    tell(raised=kinds, says=str(error), body=body if isinstance(body, dict) else None, **facts)


def main(talks: Mapping[str, Callable[[str], None]]) -> None:
    """Run the talks named on the command line with the address; an SDK's error is told."""
    global _running
    names, url = sys.argv[1:3]
    for _running in names.split(","):
        try:
            talks[_running](url)
        except Exception as error:
            told_error(error)
