"""`rbee version`: of this command, and of the rbee that runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rbee.errors import RbeeError
from rbee.keeper.connection import Connection
from rbee.keeper.parsing import Parser
from rbee.keeper.render import Screen, put
from rbee.version import VERSION

_AWAY = (
    *("NOT_RUNNING", "CONNECTION_LOST", "SHUTTING_DOWN"),
    *("NETWORK_UNREACHABLE", "NETWORK_PAUSED"),
)
"""This command's own version is told anyway."""


def run(command: str, arguments: Sequence[str]) -> int:
    asked = Parser("version", "Of this command, and of the rbee that runs.").parse(arguments)
    try:
        running = str(Connection.of(asked.url).get("/rbee/status")["version"])
    except RbeeError as error:
        if error.code not in _AWAY:
            raise
        running = ""
    if asked.json:
        put({"version": VERSION, "running": running or None})
        return 0
    print(f"rbee {VERSION}")
    if running and running != VERSION:
        screen = Screen.on(sys.stderr)
        screen.mark("other", f"the rbee that runs is {running}")
        screen.line(f"  {screen.marks.then} rbee down   then   rbee up --detach")
    return 0
