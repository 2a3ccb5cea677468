"""`rbee audit`: who did what to this rbee, and whether that log is as it was written."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from msgspec import structs

from rbee.edge.audit_file import AuditFile
from rbee.edge.home import Home, default_home
from rbee.errors import RbeeError
from rbee.keeper.parsing import Parser, count_flag
from rbee.keeper.render import Screen, put, safe
from rbee.wire.audit import broken_at, read_acts


def run(command: str, arguments: Sequence[str]) -> int:
    parser = Parser(
        "audit", "Acts of administration here: who, what, how it ended. Newest last.", remote=False
    )
    parser.add_argument("--lines", type=count_flag, default=50, metavar="N")
    parser.add_argument(
        "--check", action="store_true", help="whether a line was changed or taken out since"
    )
    asked = parser.parse(arguments)
    file = AuditFile(Home(default_home()))
    lines = file.lines()
    if asked.check:
        return _check(file, lines, json=asked.json)
    for act in read_acts(lines)[-asked.lines :]:
        if asked.json:
            put(structs.asdict(act))
            continue
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(act.at))
        of = act.of or "–"
        print(safe(f"{when}  {act.who:<12}  {act.act:<14}  {of}   {act.result}"))
    return 0


def _check(file: AuditFile, lines: Sequence[bytes], *, json: bool) -> int:
    """Raises AUDIT_BROKEN."""
    broken = broken_at(lines)
    if broken is not None:
        raise RbeeError("AUDIT_BROKEN", line=broken, lines=len(lines))
    if json:
        put({"lines": len(lines), "file": str(file.path)})
    else:
        Screen.on(sys.stderr).mark("done", f"{len(lines)} lines, each bound to the one before it")
    return 0
