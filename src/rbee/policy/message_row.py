"""One message of an engine, and what we say instead."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`says` may use the groups of `pattern`."""

    name: str
    pattern: re.Pattern[str]
    code: str
    says: str


def row(name: str, code: str, pattern: str, says: str) -> Row:
    return Row(name, re.compile(pattern), code, says)
