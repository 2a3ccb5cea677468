"""The way to a distant rbee: dialled again after 1, 2, 4, 8, 16 s, left alone when it is no use.

Only what was not accepted is sent again: a dial that failed, or a request that never left whole.
Once the request is there, its fate is rbee's to tell.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable

from rbee.edge.dial_file import DialFile
from rbee.edge.local_http import Broken, Reply
from rbee.errors import RbeeError
from rbee.policy import dial_breaker
from rbee.policy.dial_breaker import CLEAR, Dial, Hold, Line
from rbee.policy.retry import delay_s
from rbee.settings import Timing

_LOOK_S = 0.1


class Dialing:
    """Dials one address. `on_pause` is told the words for the screen while it waits, `on_tick`
    may end the wait by raising."""

    def __init__(
        self,
        url: str,
        file: DialFile,
        timing: Timing,
        *,
        on_pause: Callable[[str, str], None],
    ) -> None:
        self._url = url
        self._file = file
        self._timing = timing
        self._on_pause = on_pause

    def reach(self, send: Callable[[float], Reply], on_tick: Callable[[], None]) -> Reply:
        """Send, and send again while nobody has accepted it. `send` is told how long it may dial.

        Raises NETWORK_PAUSED, NETWORK_UNREACHABLE, or `Broken` for an answer that was cut.
        """
        trial = self._enter()
        attempt = 0
        while True:
            try:
                reply = send(self._timing.connect_s)
            except (OSError, Broken) as exc:
                if isinstance(exc, Broken) and exc.sent:
                    self._note_reached()
                    raise
                self._note_failure()
                attempt += 1
                pause_s = (
                    None if trial else delay_s(attempt, random.random(), self._timing.dial_first_s)
                )
                if pause_s is None:
                    raise unreachable(self._url, exc) from exc
                self._pause(pause_s, attempt, on_tick)
            else:
                self._note_reached()
                return reply

    def _enter(self) -> bool:
        def decide(line: Line) -> tuple[Dial | Hold, Line]:
            found = dial_breaker.decide(line, time.monotonic(), open_s=self._timing.dial_open_s)
            return found, found.line if isinstance(found, Dial) else line

        found = self._file.change(self._url, decide)
        if isinstance(found, Hold):
            raise RbeeError(
                "NETWORK_PAUSED", url=self._url, failures=found.failures, wait_s=round(found.wait_s)
            )
        return found.trial

    def _note_failure(self) -> None:
        now = time.monotonic()
        self._file.change(self._url, lambda line: (None, dial_breaker.failed(line, now)))

    def _note_reached(self) -> None:
        self._file.change(self._url, lambda line: (None, CLEAR))

    def _pause(self, pause_s: float, attempt: int, on_tick: Callable[[], None]) -> None:
        until = time.monotonic() + pause_s
        while (left_s := until - time.monotonic()) > 0:
            words = f"{self._url} does not answer; try {attempt + 1} in {left_s:.0f} s"
            self._on_pause(f"dial {attempt}", words)
            on_tick()
            time.sleep(min(_LOOK_S, left_s))


def unreachable(url: str, cause: Exception) -> RbeeError:
    """NETWORK_UNREACHABLE in words that tell a closed door from a dead line."""
    if isinstance(cause, Broken):
        problem = cause.problem
    elif isinstance(cause, ConnectionRefusedError):
        problem = "the machine is there, but nothing listens on that port"
    elif isinstance(cause, TimeoutError):
        problem = "no answer to the call"
    elif isinstance(cause, socket.gaierror):
        problem = f"the name leads nowhere ({cause.strerror})"
    else:
        problem = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return RbeeError("NETWORK_UNREACHABLE", url=url, problem=problem)
