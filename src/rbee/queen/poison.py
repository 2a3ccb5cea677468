"""Requests that took workers down with them: refused from memory, lest they take all."""

from __future__ import annotations

from collections.abc import Callable

from rbee.errors import RbeeError, Report

REMEMBERED_S = 300.0
"""As long as crashes count against a worker: sent again sooner, it would be one more of them."""
_KEPT = 256


class Poison:
    """By model and prompt, the prompt known by a hash."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, int], tuple[float, Report]] = {}

    def remember(self, model: str, mark: int, report: Report) -> None:
        """A prompt without a mark (0) is not known again."""
        if mark:
            self._known[model, mark] = (self._clock(), report)
            if len(self._known) > _KEPT:
                self._known.pop(next(iter(self._known)))

    def check(self, model: str, mark: int) -> None:
        """Raises REQUEST_QUARANTINED, as it was told the first time."""
        if not self._known:
            return
        found = self._known.get((model, mark))
        if found is None:
            return
        at, report = found
        if self._clock() - at < REMEMBERED_S:
            raise RbeeError.from_report(report)
        del self._known[model, mark]

    def forget(self, model: str) -> None:
        """It is served anew, maybe with other settings or another engine: everybody may try."""
        self._known = {key: value for key, value in self._known.items() if key[0] != model}
