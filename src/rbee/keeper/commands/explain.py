"""`rbee explain CODE`: what an error means, what to do, and when it was last seen here."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Sequence
from typing import Any

from rbee.edge.home import Home, default_home
from rbee.errors import RbeeError, Retry, Row
from rbee.errors.catalogue import CATALOGUE, FAMILIES
from rbee.keeper.parsing import Parser
from rbee.keeper.render import put, table
from rbee.keeper.seen import read_events

_RETRY = {
    Retry.NEVER: "the same again would fail again",
    Retry.SAME: "the same may work after a pause",
    Retry.ELSEWHERE: "another worker may succeed at once",
    Retry.LATER: "the same may work later",
}
_FACT = re.compile(r"\{(\w+)(?::\w+)?\}")


def run(command: str, arguments: Sequence[str]) -> int:
    parser = Parser("explain", "What an error code means; without a code: all codes.", remote=False)
    parser.add_argument("code", nargs="?", default="", metavar="CODE")
    asked = parser.parse(arguments)
    if not asked.code:
        return _all(json=asked.json)
    code = asked.code.strip().upper().replace("-", "_")
    row = CATALOGUE.get(code)
    if row is None:
        near = difflib.get_close_matches(code, list(CATALOGUE), n=3, cutoff=0.4)
        raise RbeeError("CODE_UNKNOWN", code=asked.code[:80], nearest=near)
    seen = [event for event in read_events(Home(default_home())) if event["code"] == code]
    if asked.json:
        put({**facts(row), "seen": len(seen), "last_seen_at": seen[-1]["at"] if seen else None})
    else:
        print("\n".join(page(row, seen)))
    return 0


def page(row: Row, seen: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of one code."""
    lines = [f"{row.code}   HTTP {row.status}, exit {row.exit}; {_RETRY[row.retry]}", ""]
    lines.append(f"What     {general(row.says)}")
    if row.means:
        lines.append(f"Then     {general(row.means)}")
    if row.do:
        lines.append(f"Do       {general(row.do)}")
    lines.append(f"Look     rbee doctor · last times: rbee events --code {row.code}")
    if seen:
        last = seen[-1]
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(last["at"])))
        times = "once" if len(seen) == 1 else f"{len(seen)} times"
        lines.append(f"Seen     {times} here, last {at}: {last['what']}")
    else:
        lines.append("Seen     never here")
    return lines


def general(template: str) -> str:
    """A sentence of the catalogue with the names of its facts in place of the facts."""
    return _FACT.sub(lambda found: found.group(1).removesuffix("_bytes").upper(), template)


def facts(row: Row) -> dict[str, Any]:
    """The row as an object."""
    return {
        "code": row.code,
        "status": row.status,
        "exit": row.exit,
        "retry": row.retry.value,
        "what": general(row.says),
        "then": general(row.means),
        "do": general(row.do),
        "facts": list(row.facts),
    }


def _all(*, json: bool) -> int:
    if json:
        for row in CATALOGUE.values():
            put(facts(row))
        return 0
    for family, rows in FAMILIES.items():
        shown = [
            [f"  {row.code}", str(row.status), str(row.exit), general(row.says)] for row in rows
        ]
        print(table((family.upper(), "HTTP", "EXIT", ""), shown, right=(1, 2)))
        print()
    return 0
