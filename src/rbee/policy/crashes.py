"""What ended a worker, from its return code, signal, log and the kernel's counters: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbee.errors import RbeeError


@dataclass(frozen=True, slots=True)
class Death:
    """Why a worker is gone."""

    code: str
    """Of the catalogue; empty: it was asked to end and did."""
    cause: str
    """A sentence without its full stop."""
    line: str
    """The line of the log that tells it; empty: none does."""
    facts: Mapping[str, Any]
    """Exactly what the code's row takes."""

    def error(self) -> RbeeError:
        """The error to report. Only for a death that nobody asked for."""
        return RbeeError(self.code, **self.facts)


def classify(
    *,
    returncode: int | None,
    signal: int | None,
    log_tail: Sequence[str],
    oom_kills: int,
    asked: bool,
    model: str,
    worker: str,
) -> Death:
    raise NotImplementedError
