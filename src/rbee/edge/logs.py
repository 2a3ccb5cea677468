"""Structured logs: one JSON object per line on stderr, with level and time, and never a secret.

structlog is imported with the first line that is written, not before: it would cost a third of the
start-up of a hive (docs/measured.md).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_METHODS = {number: name for name, number in LEVELS.items()}

_SECRET_NAMES = ("key", "token", "secret", "password", "authorization", "prompt", "messages")
_HIDDEN = "***"


class Log:
    """The log of one process or of one part of it; `bound` facts stand in every line."""

    def __init__(self, process: str, level: str = "info", bound: Mapping[str, Any] = {}) -> None:
        self._process = process
        self._level = level
        self._bound = dict(bound)
        self._logger: Any = None

    def bind(self, **facts: Any) -> Log:
        """The same log with more facts in every line."""
        return Log(self._process, self._level, {**self._bound, **facts})

    def debug(self, event: str, **facts: Any) -> None:
        self._write("debug", event, facts)

    def info(self, event: str, **facts: Any) -> None:
        self._write("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        self._write("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        self._write("error", event, facts)

    def _write(self, level: str, event: str, facts: Mapping[str, Any]) -> None:
        if LEVELS[level] < LEVELS.get(self._level, LEVELS["info"]):
            return
        if self._logger is None:
            self._logger = _open(self._process).bind(**self._bound)
        try:
            self._logger.log(LEVELS[level], event, **facts)
        except OSError:
            # A full disk under the log must not take the process with it.
            return


def hide_secrets(
    _logger: Any, _method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Blank out every fact whose name says that it is secret (`api_key`, `prompt`, …)."""
    for name in line:
        if any(part in _SECRET_NAMES for part in name.lower().split("_")):
            line[name] = _HIDDEN
    return line


def _open(process: str) -> Any:
    import structlog

    logger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            hide_secrets,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return _Levelled(logger.bind(process=process))


class _Levelled:
    """Calls the method of a level by its number."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def bind(self, **facts: Any) -> _Levelled:
        return _Levelled(self._logger.bind(**facts))

    def log(self, level: int, event: str, **facts: Any) -> None:
        getattr(self._logger, _METHODS[level])(event, **facts)
