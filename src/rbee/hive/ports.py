"""The port of the next worker: any that is free, or the next of a range that a person gave."""

from __future__ import annotations

from collections.abc import Callable

from rbee.edge.process_table import port_holder, port_listening
from rbee.errors import RbeeError


class Ports:
    """Goes round the range. `in_use`: ports of workers that live, listening or not yet."""

    def __init__(self, span: Callable[[], tuple[int, int]], in_use: Callable[[], set[int]]) -> None:
        self._span = span
        self._in_use = in_use
        self._last = 0

    def next(self) -> int:
        """0: the engine binds any that is free, and says which. Raises PORT_TAKEN when all of the
        range are held."""
        first, last = self._span()
        if not first:
            return 0
        count = last - first + 1
        begin = self._last - first + 1 if first <= self._last <= last else 0
        used = self._in_use()
        for step in range(count):
            port = first + (begin + step) % count
            if port not in used and not port_listening(port):
                self._last = port
                return port
        raise RbeeError("PORT_TAKEN", host="127.0.0.1", port=first, holder=port_holder(first))
