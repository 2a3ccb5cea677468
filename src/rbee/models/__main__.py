"""`python -m rbee.models pull NAME | verify REF | import WHAT | outdated -`: the niced child.

It writes JSON lines: `{"progress": …}` and `{"trouble": …, "then": …}` while it works, at the end
`{"done": …}` or `{"error": …}`. It dies with the hive that started it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import msgspec

from rbee.edge.config_file import load_settings
from rbee.edge.dying import IDLE_NICENESS, die_with_parent, give_way
from rbee.edge.home import Home, default_home
from rbee.edge.web import Web
from rbee.errors import RbeeError
from rbee.models.acquire import Acquire
from rbee.models.at_source import look_at
from rbee.models.imports import imported
from rbee.models.outdated import compared
from rbee.models.repair import repaired
from rbee.models.sources.resolving import resolve
from rbee.models.store import Store
from rbee.settings import Settings
from rbee.wire.problem import to_problem

_TELL_EVERY_S = 0.1


class _Teller:
    """Progress as lines, at most ten a second; the last of each phase always."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def __call__(self, phase: str, done_bytes: int, total_bytes: int) -> None:
        now = time.monotonic()
        if now >= self._next_at or done_bytes == total_bytes:
            self._next_at = now + _TELL_EVERY_S
            facts = {"phase": phase, "done_bytes": done_bytes, "total_bytes": total_bytes}
            say({"progress": facts})

    def trouble(self, error: RbeeError, then: str) -> None:
        """What went wrong on the way, and what is done about it."""
        say({"trouble": to_problem(error.report), "then": then})


def say(line: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def main(arguments: list[str]) -> int:
    """Do one thing and say how it ended."""
    signal.signal(signal.SIGTERM, _leave)
    give_way(int(os.environ.get("RBEE_NICE", IDLE_NICENESS)))
    home = Home(Path(default_home()))
    try:
        settings = load_settings(home)
        store = Store(Path(settings.models_dir or home.models))
        done = _act(arguments, store, settings)
    except RbeeError as error:
        say({"error": to_problem(error.report)})
        return 1
    say({"done": done})
    return 0


def _leave(number: int, frame: object) -> NoReturn:
    """Tidy up and go. A second word changes nothing: it would break into the tidying up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _act(arguments: list[str], store: Store, settings: Settings) -> object:
    act, what = arguments
    timing, tell = settings.timing, _Teller()
    if act == "pull":
        return store.view(Acquire(store, settings, tell, tell.trouble).pull(what))
    if act == "import":
        return imported(store, what, tell)
    if act == "outdated":
        return compared(store, look_at(lambda one: resolve(one.sources[0], Web(one.name, timing))))
    manifest = store.get(what)
    if manifest is None:
        raise RbeeError("MODEL_NOT_FOUND", model=what[:200], nearest=[])
    return repaired(store, settings, manifest, tell, tell.trouble)


if __name__ == "__main__":
    die_with_parent(int(os.environ.get("RBEE_PARENT", os.getppid())), signal.SIGTERM)
    code = main(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(code)
