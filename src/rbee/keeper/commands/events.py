"""`rbee events`: every fault, what was done about it, and how it ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from rbee.keeper.connection import checked
from rbee.keeper.parsing import Parser
from rbee.keeper.render import Screen, put, safe
from rbee.keeper.seen import read_events

_WORDS = {"ok": "ok", "open": "NEEDS YOU", "lost": "LOST", "over": "over by now"}


def run(command: str, arguments: Sequence[str]) -> int:
    parser = Parser("events", "Faults, what was done about them, and how it ended. Newest last.")
    parser.add_argument("--follow", "-f", action="store_true")
    parser.add_argument("--code", default="", metavar="CODE")
    parser.add_argument("--job", default="", metavar="JOB", help="or the x-request-id sent")
    parser.add_argument("--open", action="store_true", help="only what needs a person")
    asked = parser.parse(arguments)
    screen = Screen.on(sys.stderr)
    count = {"ok": 0, "open": 0, "lost": 0}
    found = _found(asked.url, asked.code.upper(), asked.job, follow=asked.follow)
    for event in found if asked.follow else judged(found):
        if asked.open and event["outcome"] != "open":
            continue
        count[event["outcome"]] = count.get(event["outcome"], 0) + 1
        if asked.json:
            put(event)
        else:
            for line in told(event, screen):
                print(line, flush=True)
    if not asked.json:
        faults = sum(count.values())
        word = "fault" if faults == 1 else "faults"
        print(f"{faults} {word}, {count['open']} need you, {count['lost']} answers lost")
    return 0


def _found(url: str, code: str, job: str, *, follow: bool) -> Iterator[Mapping[str, Any]]:
    """From the running rbee; without one, what stands in its log here."""
    from rbee.errors import RbeeError
    from rbee.keeper.connection import Connection

    try:
        connection = checked(url)
    except RbeeError as error:
        if error.code != "NOT_RUNNING" or follow or not Connection.of(url).local:
            raise
        for event in read_events(Connection.of().home):
            of_job = job in ("", event["job"], event.get("request"))
            if of_job and (not code or event["code"] == code):
                yield event
        return
    query = {"code": code, "job": job, "follow": "1" if follow else "0"}
    yield from connection.lines("GET", f"/rbee/events?{urlencode(query)}")


def judged(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same, with the outcome `over` for what was open and has ended since."""
    known: list[dict[str, Any]] = []
    still_open: dict[str, list[dict[str, Any]]] = {}
    for event in map(dict, events):
        known.append(event)
        subject = event.get("subject", "")
        if event["outcome"] == "open" and subject:
            still_open.setdefault(subject, []).append(event)
        elif event["outcome"] == "ok":
            for ended in still_open.pop(subject, ()):
                ended["outcome"] = "over"
    return known


def told(event: Mapping[str, Any], screen: Screen) -> list[str]:
    """Two lines: what happened; what was done and how it ended."""
    at = time.strftime("%m-%d %H:%M:%S", time.localtime(float(event["at"])))
    where = " ".join(str(event[name]) for name in ("model", "worker") if event.get(name))
    outcome = _WORDS.get(str(event["outcome"]), str(event["outcome"]))
    lines = [safe(f"{at}  {where or 'rbee':<24}  {event['what']}")]
    lines.append(safe(f"{'':16}{screen.marks.then} {event['done']}   {outcome}"))
    if event["outcome"] == "open":
        lines.append(f"{'':16}{screen.marks.then} rbee explain {event['code']}")
    return lines
