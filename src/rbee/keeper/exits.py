"""Exit codes of the command line: the one place where errors become them.

0 ok · 1 error · 2 usage · 124 timeout · 130 interrupted · 137 the worker was killed or ran out of
memory · 255 rbee or the network cannot be reached.
"""

from __future__ import annotations

from rbee.errors import Report

OK = 0
ERROR = 1
USAGE = 2
TIMEOUT = 124
INTERRUPTED = 130
KILLED = 137
UNREACHABLE = 255

_KNOWN = frozenset({ERROR, USAGE, TIMEOUT, INTERRUPTED, KILLED, UNREACHABLE})


def exit_code(report: Report) -> int:
    """What the process ends with; a code that only a newer rbee knows counts as an error, and where
    several attempts failed the last one's cause decides."""
    from rbee.errors.catalogue import CATALOGUE

    cause = CATALOGUE.get(str(report.details.get("cause")))
    found = report.exit if cause is None else cause.exit
    return found if found in _KNOWN else ERROR
