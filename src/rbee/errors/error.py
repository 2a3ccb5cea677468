"""One exception for everything that rbee reports; its meaning is a row of the catalogue.

A row is data: what happened (`says`), what to do next (`do`), the HTTP status, the exit code of
the command line, and who may try again. An error is raised with the facts that its row names; a
missing fact fails at the raise, in the test that reaches it, and not on somebody's screen.

Errors are made in `edge` (a foreign exception is translated once, at the skin) or in the room that
gives up. They become HTTP in `wire.problem` and an exit code in `keeper.exits`, nowhere else.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Retry(Enum):
    """Who may try the same thing again, and where."""

    NEVER = "never"
    """The same request fails again until somebody changes something."""
    SAME = "same"
    """The same worker may succeed after a pause."""
    ELSEWHERE = "elsewhere"
    """Another worker may succeed at once."""
    LATER = "later"
    """Any worker may succeed once load or state has changed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One code of the catalogue.

    `status` is the HTTP status, `exit` the exit code of the keeper. `says` and `do` are format
    strings over `facts`; sizes are bytes (`*_bytes`), times are seconds (`*_s`).
    `optional` facts may be absent; they stand in details only, never in `says` or `do`.
    """

    code: str
    status: int
    exit: int
    retry: Retry
    says: str
    do: str
    facts: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    means: str = ""
    """What it means for the user and what was left alone: one sentence for screens."""


class CatalogueError(Exception):
    """A programmer's mistake: an unknown code raised here, or a fact that its row does not get."""


class RbeeError(Exception):
    """Something that went wrong, with a code of the catalogue and the facts of its row."""

    def __init__(self, code: str, /, **facts: Any) -> None:
        row = _rows().get(code)
        if row is None:
            raise CatalogueError(f"{code} is not in the catalogue")
        missing = [name for name in row.facts if name not in facts]
        unknown = [name for name in facts if name not in row.facts and name not in row.optional]
        if missing or unknown:
            raise CatalogueError(f"{code}: missing facts {missing}, unknown facts {unknown}")
        self.report = Report(
            code=code,
            message=_sentence(row.says, facts),
            action=_sentence(row.do, facts),
            means=_sentence(row.means, facts),
            status=row.status,
            exit=row.exit,
            retry=row.retry,
            details=facts,
        )
        super().__init__(self.report.message)

    @classmethod
    def from_report(cls, report: Report) -> RbeeError:
        """The same error on this side of a socket; codes that only the peer knows are kept."""
        error = cls.__new__(cls)
        Exception.__init__(error, report.message)
        error.report = report
        return error

    @property
    def code(self) -> str:
        return self.report.code

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.report.details

    def __str__(self) -> str:
        return f"{self.report.code}: {self.report.message}"


@dataclass(frozen=True, slots=True)
class Report:
    """An error as a value: what crosses sockets, stands in logs and is shown on screens."""

    code: str
    message: str
    action: str = ""
    means: str = ""
    status: int = 500
    exit: int = 1
    retry: Retry = Retry.NEVER
    details: Mapping[str, Any] = field(default_factory=dict)


class _Words(string.Formatter):
    """Formats sizes and times the way people read them: `{free_bytes}` is `6.1 GiB`."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "bytes":
            return human_bytes(int(value))
        if isinstance(value, float) and not format_spec:
            # A measured time has more digits than anybody reads.
            return f"{round(value, 2):.10g}"
        if format_spec == "list":
            return ", ".join(str(item) for item in value) or "none"
        return str(super().format_field(value, format_spec))


_WORDS = _Words()


def _sentence(template: str, facts: Mapping[str, Any]) -> str:
    return _WORDS.vformat(template, (), facts)


def human_bytes(size_bytes: int) -> str:
    """A size with a unit: 98362432 → `93.8 MiB`."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _rows() -> Mapping[str, Row]:
    from rbee.errors.catalogue import CATALOGUE

    return CATALOGUE
