"""Brings the parts of one file from one source: four threads at most, each a part at a time.

Bytes stay where they are when a part fails; the next try, or the next source, goes on behind them.
What an answer means and whether to ask again is decided in `policy.fetching`.
"""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rbee.edge.web import Reply, Web
from rbee.errors import RbeeError
from rbee.models.brake import DiskBrake, Throttle
from rbee.models.partial import Partial
from rbee.models.sources import Remote
from rbee.policy.fetching import Changed, Fault, Part, Wait, Whole, decide, judge, trickles
from rbee.settings import Timing
from rbee.wire.ranges import Span

THREADS = 4
_BLOCK_BYTES = 256 << 10
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOOK_S = 0.1

CUT = Fault("SOURCE_UNREACHABLE", "the connection was cut", again=True)

Outcome = Fault | Changed | Whole | OSError


@dataclass(frozen=True, slots=True)
class Means:
    """What every try needs."""

    web: Web
    timing: Timing
    throttle: Throttle
    brake: DiskBrake


def fault_of(error: RbeeError) -> Fault:
    """What `edge.web` raised, as something to decide on."""
    problem = str(error.facts.get("problem") or f"it was silent for {error.facts.get('limit_s')} s")
    return Fault(error.code, problem, again=error.code != "SOURCE_BROKEN")


class Crew:
    """The threads. `whole`: the source gives no parts, so it is one stream from the beginning."""

    def __init__(self, means: Means, remote: Remote, partial: Partial, *, whole: bool) -> None:
        self.ended = threading.Event()
        """No thread is at work any more."""
        self.outcome: Outcome | None = None
        """Why it ended before every byte was there."""
        self._means = means
        self._remote = remote
        self._partial = partial
        self._whole = whole
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._left = [
            number
            for number, span in enumerate(partial.spans)
            if partial.next_byte(number) < span.end
        ]
        self._replies: set[Reply] = set()
        self._at_work = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._at_work = 1 if self._whole else max(1, min(THREADS, len(self._left)))
        self._threads = [
            threading.Thread(target=self._work, name=f"part-{number}", daemon=True)
            for number in range(self._at_work)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, within_s: float | None = None) -> None:
        """Returns when no thread writes any more, or after that time: then those that are left
        wait for a connection, and write nothing once they have it."""
        self._end(None)
        for thread in self._threads:
            thread.join(within_s)

    def _end(self, outcome: Outcome | None) -> None:
        with self._lock:
            if outcome is not None and self.outcome is None and not self._stopped.is_set():
                self.outcome = outcome
            self._stopped.set()
            replies = list(self._replies)
        for reply in replies:
            reply.abort()

    def _work(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._lock:
                    part = self._left.pop(0) if self._left else None
                if part is None:
                    return
                self._bring(part)
        except OSError as exc:
            self._end(exc)
        finally:
            with self._lock:
                self._at_work -= 1
                if not self._at_work:
                    self.ended.set()

    def _bring(self, part: int) -> None:
        """All of one part, in as many tries as are worth it."""
        tries, furthest = 0, self._reached(part)
        while not self._stopped.is_set():
            outcome = self._try_whole() if self._whole else self._try_part(part)
            if outcome is None:
                return
            if not isinstance(outcome, Fault):
                self._end(outcome)
                return
            there = self._reached(part)
            gained_bytes = there - furthest
            dice = random.random()
            then = decide(outcome, tries=tries, gained_bytes=gained_bytes, dice=dice)
            furthest = max(furthest, there)
            if not isinstance(then, Wait):
                self._end(outcome)
                return
            tries = then.tries
            self._stopped.wait(then.after_s)

    def _reached(self, part: int) -> int:
        """A stream begins anew at each try: only what is beyond the furthest one is won."""
        return self._partial.contiguous_bytes() if self._whole else self._partial.next_byte(part)

    def _try_part(self, part: int) -> Outcome | None:
        """One request for what is missing of a part; None: it is whole now."""
        remote, partial = self._remote, self._partial
        asked = Span(partial.next_byte(part), partial.spans[part].end)
        headers = {**remote.headers, "range": asked.header}
        if remote.validator:
            headers["if-range"] = remote.validator
        try:
            with self._reply(headers) as reply:
                meaning = judge(
                    reply.status,
                    reply.headers,
                    asked=asked,
                    size_bytes=remote.size_bytes,
                    validator=remote.validator,
                )
                if not isinstance(meaning, Part):
                    return meaning
                return self._take(reply, part)
        except RbeeError as error:
            return fault_of(error)

    def _try_whole(self) -> Outcome | None:
        """The whole file from its first byte; None: it is whole now."""
        remote, partial = self._remote, self._partial
        try:
            with self._reply(remote.headers) as reply:
                meaning = judge(
                    reply.status,
                    reply.headers,
                    asked=None,
                    size_bytes=remote.size_bytes,
                    validator=remote.validator,
                )
                if isinstance(meaning, Part):
                    return Fault("SOURCE_BROKEN", "a part came, not the whole", again=True)
                if not isinstance(meaning, Whole):
                    return meaning
                partial.anew(remote.size_bytes or meaning.size_bytes, meaning.validator)
                faults = (self._take(reply, part) for part in range(len(partial.spans)))
                return next((fault for fault in faults if fault is not None), None)
        except RbeeError as error:
            return fault_of(error)

    @contextmanager
    def _reply(self, headers: Mapping[str, str]) -> Iterator[Reply]:
        means = self._means
        stall_s = means.timing.download_stall_s
        with means.web.open(self._remote.url, headers, stall_s=stall_s) as reply:
            with self._lock:
                self._replies.add(reply)
            try:
                yield reply
            finally:
                with self._lock:
                    self._replies.discard(reply)

    def _take(self, reply: Reply, part: int) -> Fault | None:
        """The body, to its place."""
        partial, throttle = self._partial, self._means.throttle
        span = partial.spans[part]
        block = throttle.block_bytes(_BLOCK_BYTES)
        pace = _Pace(self._means.timing)
        while (begin := partial.next_byte(part)) < span.end:
            if not self._has_room():
                return None
            data = pace.timed(reply, min(block, span.end - begin))
            if not data:
                if not partial.size_bytes:
                    partial.end_at(begin)
                    return None
                return CUT
            self._store(part, data)
            if pace.trickles():
                limit_s = self._means.timing.download_trickle_s
                return Fault(
                    "DOWNLOAD_STALLED", f"next to nothing came for {limit_s} s", again=True
                )
            if wait_s := throttle.take(len(data)):
                self._stopped.wait(wait_s)
        return None

    def _has_room(self) -> bool:
        """Waits while the disk is full; False: stopped meanwhile."""
        while not self._stopped.is_set():
            if self._means.brake.wait(_LOOK_S):
                return True
        return False

    def _store(self, part: int, data: bytes) -> None:
        """Writes it all; a full disk is waited for, with what it did not take kept in hand."""
        begin = self._partial.next_byte(part)
        while self._has_room():
            done = self._partial.next_byte(part) - begin
            try:
                self._partial.write(part, memoryview(data)[done:])
                return
            except OSError as exc:
                if exc.errno not in _FULL:
                    raise
                self._means.brake.refuse()


class _Pace:
    """Whether a connection brings enough; the time that we ourselves wait does not count."""

    def __init__(self, timing: Timing) -> None:
        self._window_s = timing.download_trickle_s
        self._waited_s = 0.0
        self._received_bytes = 0

    def timed(self, reply: Reply, size_bytes: int) -> bytes:
        begun_at = time.monotonic()
        data = reply.read(size_bytes)
        self._waited_s += time.monotonic() - begun_at
        self._received_bytes += len(data)
        return data

    def trickles(self) -> bool:
        """Looked at once a window; a new one begins then."""
        if self._waited_s < self._window_s:
            return False
        found = trickles(self._received_bytes, self._waited_s, self._window_s)
        self._waited_s, self._received_bytes = 0.0, 0
        return found
