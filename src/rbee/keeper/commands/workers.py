"""`rbee workers`: list, logs, drain, shutdown, attach, detach."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from rbee.errors import RbeeError
from rbee.keeper.commands.workers_attached import attach, detach
from rbee.keeper.connection import Connection, checked
from rbee.keeper.parsing import Parser, count_flag, verbs
from rbee.keeper.render import Screen, put, safe, table


def run(command: str, arguments: Sequence[str]) -> int:
    does = {
        "list": _list,
        "logs": _logs,
        "drain": _drain,
        "shutdown": _shutdown,
        "attach": attach,
        "detach": detach,
    }
    verb, rest = verbs(command, arguments, does)
    return does[verb](rest)


def _list(arguments: Sequence[str]) -> int:
    asked = Parser("workers list", "Worker processes, with their engines.").parse(arguments)
    found = checked(asked.url).get("/rbee/ps")["workers"]
    if asked.json:
        for one in found:
            put(one)
        return 0
    rows = [
        [
            str(one["id"]),
            str(one["model"]),
            str(one["state"]).lower(),
            str(one["pid"] or "–"),
            _where(one),
            f"{one.get('engine', '')} {one.get('build', '')}".strip() or "–",
            str(one["restarts"]),
            str(one.get("problem") or "–"),
        ]
        for one in found
    ]
    head = ("WORKER", "MODEL", "STATE", "PID", "PORT", "ENGINE", "RESTARTS", "PROBLEM")
    print(table(head, rows, right=(3, 4, 6)) if rows else "No worker runs.")
    return 0


def _where(one: Mapping[str, Any]) -> str:
    """A port here; of an attached server its address, and how long it takes to answer a look."""
    delay = f" ({one['delay_ms']:.0f} ms)" if one.get("delay_ms") else ""
    return str(one.get("address") or one["port"] or "–") + delay


def _logs(arguments: Sequence[str]) -> int:
    parser = Parser("workers logs", "The last lines that a worker's engine wrote.")
    parser.add_argument("worker", metavar="WORKER")
    parser.add_argument("--lines", type=count_flag, default=100, metavar="N")
    asked = parser.parse(arguments)
    path = f"/rbee/workers/{quote(asked.worker, safe='')}/logs?lines={min(asked.lines, 999_999)}"
    for line in checked(asked.url).get(path)["lines"]:
        if asked.json:
            put({"line": line})
        else:
            print(safe(line) if sys.stdout.isatty() else line)
    return 0


def _drain(arguments: Sequence[str]) -> int:
    does = "Replace one worker: another is loaded, this one finishes its answers and ends."
    connection, asked = _meant("workers drain", does, arguments)
    drained = connection.post("/rbee/workers/drain", {"worker": asked.worker})["drained"]
    if asked.json:
        put({"drained": drained})
    else:
        Screen.on(sys.stderr).mark("done", f"drained {drained}")
    return 0


def _shutdown(arguments: Sequence[str]) -> int:
    does = "End one worker; a model that is served gets a new one."
    connection, asked = _meant("workers shutdown", does, arguments)
    stopped = connection.post("/rbee/stop", {"worker": asked.worker})["stopped"]
    if asked.json:
        put({"stopped": stopped})
    else:
        Screen.on(sys.stderr).mark("done", f"stopped {', '.join(stopped)}")
    return 0


def _meant(
    command: str, does: str, arguments: Sequence[str]
) -> tuple[Connection, argparse.Namespace]:
    """What was asked of one worker that is there. Raises WORKER_NOT_FOUND."""
    parser = Parser(command, does)
    parser.add_argument("worker", metavar="WORKER")
    asked = parser.parse(arguments)
    connection = checked(asked.url)
    known = [str(one["id"]) for one in connection.get("/rbee/ps")["workers"]]
    if asked.worker not in known:
        raise RbeeError("WORKER_NOT_FOUND", worker=asked.worker[:100])
    return connection, asked
