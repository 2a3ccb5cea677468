"""Brings one file, whole and verified, from whichever of its sources gives it.

One process at a time is at a file (`models.partial`). Its parts come side by side (`models.parts`)
while a thread hashes what is there without a gap (`models.frontier`). A source that is spent gives
way to the next one, which goes on from the bytes already there if both vouch for the same digest.
A digest that comes out wrong is fetched again, from the next source if there is one; after three
rounds the file is MODEL_CORRUPTED and nothing of it is kept.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rbee.edge.disk import translated
from rbee.edge.web import Reply, Web
from rbee.errors import RbeeError
from rbee.models.brake import DiskBrake, Throttle
from rbee.models.download import SOURCE_CODES, Candidate, Download, told
from rbee.models.hashing import Hashed, Progress, Trouble
from rbee.models.partial import held, key_of
from rbee.models.parts import CUT, Means, fault_of
from rbee.models.sources import Remote
from rbee.policy.fetching import Changed, Fault, Part, Wait, decide, judge
from rbee.settings import Settings
from rbee.wire.ranges import Span

_BLOCK_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Brought:
    """A whole file, still under the lock of its download: to be moved away from `path`."""

    path: Path
    hashed: Hashed


class Fetcher:
    """Fetches into `partials`, a folder of the store. Blocks: it runs in the niced child."""

    def __init__(
        self, partials: Path, settings: Settings, progress: Progress, trouble: Trouble, web: Web
    ) -> None:
        self._partials = partials
        self._progress = progress
        self._trouble = trouble
        self._timing = settings.timing
        self._reserve_bytes = settings.limits.disk_reserve_bytes
        self._rate = settings.limits.download_bytes_per_s
        self._web = web

    @contextmanager
    def fetch(
        self, model: str, candidates: Sequence[Candidate], unless: Callable[[], bool]
    ) -> Iterator[Brought | None]:
        """The file that the candidates have, the best one first; one that is a function is asked
        where the file is when its turn has come.

        While another process is at the same file it is waited for, and then `unless` is asked
        whether there is nothing left to do: if so, None is given. After a body that came to its
        end, or found the file unfit, what is left of the download is removed.
        Raises SOURCE_… and DOWNLOAD_STALLED when all candidates are spent (what came is kept, to go
        on there), MODEL_CORRUPTED, DISK_….
        """
        first, others = self._first(candidates)

        def waiting() -> None:
            self._progress("waiting for another download", 0, first.size_bytes)

        try:
            with held(self._partials, key_of(first), waiting) as partial:
                if unless():
                    partial.remove()
                    yield None
                    return
                brake = DiskBrake(self._partials, self._reserve_bytes)
                means = Means(self._web, self._timing, Throttle(self._rate), brake)
                download = Download(
                    model,
                    [first, *others],
                    partial,
                    means,
                    progress=self._progress,
                    trouble=self._trouble,
                    reserve_bytes=self._reserve_bytes,
                )
                brought = Brought(partial.data, download.run())
                try:
                    yield brought
                except RbeeError:
                    partial.remove()
                    raise
                partial.remove()
        except OSError as exc:
            raise translated(exc, "write to", self._partials) from exc

    def _first(self, candidates: Sequence[Candidate]) -> tuple[Remote, Sequence[Candidate]]:
        """The first candidate that can be resolved, and those after it."""
        for number, candidate in enumerate(candidates):
            if isinstance(candidate, Remote):
                return candidate, candidates[number + 1 :]
            try:
                return candidate(), candidates[number + 1 :]
            except RbeeError as error:
                if error.code not in SOURCE_CODES or number + 1 == len(candidates):
                    raise
        raise ValueError("a file without a candidate")

    def read_range(self, remote: Remote, begin: int, end: int) -> Iterator[bytes]:
        """The bytes `begin` … `end` - 1 of a file, as its source has them; nobody vouches for them.

        Raises SOURCE_…, SOURCE_BROKEN also if the source gives no parts, and DOWNLOAD_STALLED.
        """
        tries, at, before = 0, begin, begin
        stall_s = self._timing.download_stall_s
        while at < end:
            fault: Fault | None = None
            asked = Span(at, end)
            headers = {**remote.headers, "range": asked.header}
            try:
                with self._web.open(remote.url, headers, stall_s=stall_s) as reply:
                    fault = _refusal(reply, remote, asked)
                    while fault is None and at < end:
                        block = reply.read(min(_BLOCK_BYTES, end - at))
                        fault = None if block else CUT
                        at += len(block)
                        yield block
            except RbeeError as error:
                fault = fault_of(error)
            if fault is not None:
                then = decide(fault, tries=tries, gained_bytes=at - before, dice=random.random())
                if not isinstance(then, Wait):
                    raise told(fault, remote, self._web.model, self._timing)
                tries, before = then.tries, at
                time.sleep(then.after_s)


def _refusal(reply: Reply, remote: Remote, asked: Span) -> Fault | None:
    """Why the body is not the part that was asked for; None: it is."""
    meaning = judge(
        reply.status,
        reply.headers,
        asked=asked,
        size_bytes=remote.size_bytes,
        validator=remote.validator,
    )
    if isinstance(meaning, Part):
        return None
    if isinstance(meaning, Fault):
        return meaning
    changed = isinstance(meaning, Changed)
    problem = "the file there is another one now" if changed else "it gives no parts of files"
    return Fault("SOURCE_BROKEN", problem, again=False)
