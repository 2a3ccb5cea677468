"""One download: its sources in turn, its rounds, and what it says meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rbee.edge.disk import need_room, translated
from rbee.edge.web import source_of
from rbee.errors import RbeeError
from rbee.errors.error import Retry
from rbee.models.frontier import Frontier
from rbee.models.hashing import Hashed, Progress, Trouble
from rbee.models.partial import Partial
from rbee.models.parts import Crew, Means, Outcome
from rbee.models.sources import Remote
from rbee.models.sources.https import probe
from rbee.policy.fetching import Changed, Fault, Whole
from rbee.settings import Timing

ROUNDS = 3
"""Of fetching a file whose digest comes out wrong; also how often it may change under our eyes."""
SOURCE_CODES = frozenset(
    {
        "SOURCE_NOT_FOUND",
        "SOURCE_FORBIDDEN",
        "SOURCE_RATE_LIMITED",
        "SOURCE_UNREACHABLE",
        "SOURCE_BROKEN",
        "DOWNLOAD_STALLED",
    }
)
"""What one source says or does, and the next one may do better."""
_TICK_S = 0.1
_HASH_LOOK_S = 0.005
_DURABLE_EVERY_S = 5.0
_LEAVE_S = 1.0

Candidate = Remote | Callable[[], Remote]


def told(fault: Fault, remote: Remote, model: str, timing: Timing) -> RbeeError:
    """A fault that stays, as an error."""
    source = source_of(remote.url)
    if fault.code == "DOWNLOAD_STALLED":
        limit_s = timing.download_stall_s
        return RbeeError(fault.code, model=model, source=source, limit_s=limit_s)
    return RbeeError(fault.code, model=model, source=source, problem=fault.problem)


def spent(errors: Sequence[RbeeError]) -> RbeeError:
    """What is said when no source is left: the most hopeful of their codes, and all reasons."""
    best = next((one for one in errors if one.report.retry is Retry.LATER), errors[0])
    if len(errors) == 1 or "source" not in best.facts:
        return best
    facts = dict(best.facts)
    told = [one for one in errors if "source" in one.facts]
    facts["source"] = ", ".join(dict.fromkeys(str(one.facts["source"]) for one in told))
    if "problem" in facts:
        facts["problem"] = "; ".join(
            f"{one.facts['source']}: {one.facts.get('problem', 'it was silent')}" for one in told
        )
    return RbeeError(best.code, **facts)


class Download:
    """`candidates`: the best first; `candidates[0]` is resolved, and its digest is what must come
    out (empty: nobody knows it)."""

    def __init__(
        self,
        model: str,
        candidates: Sequence[Candidate],
        partial: Partial,
        means: Means,
        *,
        progress: Progress,
        trouble: Trouble,
        reserve_bytes: int,
    ) -> None:
        self._model = model
        self._candidates = candidates
        self._partial = partial
        self._means = means
        self._progress = progress
        self._trouble = trouble
        self._reserve_bytes = reserve_bytes
        self._frontier = Frontier(partial)
        self._saver: threading.Thread | None = None
        self._saved_at = time.monotonic()
        self._save_error: OSError | None = None
        first = candidates[0]
        assert isinstance(first, Remote)
        self._digest = first.digest
        self._opened = False
        self._paused = False

    def run(self) -> Hashed:
        """Returns when the file is whole, right, and on the disk. Raises as `Fetcher.fetch`."""
        try:
            for number in range(ROUNDS):
                hashed = self._round(number)
                if self._digest in ("", hashed.digest):
                    self._partial.save(durable=True)
                    return hashed
                if number + 1 < ROUNDS:
                    error = self._corrupted(hashed, "its sha256 came out wrong")
                    self._trouble(error, "kept nothing of it and fetched it again")
                    self._partial.anew(self._partial.size_bytes, "")
        finally:
            self._frontier.stop()
            if not self._partial.written_bytes:
                self._partial.remove()
        self._partial.remove()
        raise self._corrupted(hashed, f"its sha256 came out wrong {ROUNDS} times")

    def _corrupted(self, hashed: Hashed, problem: str) -> RbeeError:
        return RbeeError(
            "MODEL_CORRUPTED",
            model=self._model,
            problem=problem,
            expected=self._digest,
            actual=hashed.digest,
        )

    def _round(self, number: int) -> Hashed:
        """The sources in turn, each round beginning with another one."""
        first = number % len(self._candidates)
        errors: list[RbeeError] = []
        for candidate in (*self._candidates[first:], *self._candidates[:first]):
            try:
                self._from(candidate if isinstance(candidate, Remote) else candidate())
                return self._hashed()
            except RbeeError as error:
                if error.code not in SOURCE_CODES:
                    raise
                errors.append(error)
                if len(errors) < len(self._candidates):
                    self._trouble(error, "went on with the next source, from what was there")
        raise spent(errors)

    def _from(self, remote: Remote) -> None:
        """All bytes that are missing, from one source. Raises when it is spent."""
        if self._digest and remote.digest not in ("", self._digest):
            raise self._broken(remote, "it has other bytes")
        if not remote.size_bytes or not (self._digest or remote.validator):
            remote = probe(self._means.web, remote, model=self._model)
        self._open(remote)
        # Without a size there are no parts, and without anything that vouches for them no two
        # parts are known to be of one file.
        whole = not remote.size_bytes or not (self._digest or remote.validator)
        changes = 0
        while not self._partial.whole:
            outcome = self._crewed(remote, whole=whole)
            if isinstance(outcome, OSError):
                raise translated(outcome, "write to", self._partial.folder) from outcome
            if isinstance(outcome, Fault):
                raise told(outcome, remote, self._model, self._means.timing)
            whole = whole or isinstance(outcome, Whole)
            if isinstance(outcome, Changed):
                changes += 1
                if changes > ROUNDS:
                    raise self._broken(remote, "it changes again and again while it is fetched")
                remote = self._changed(remote)
            if outcome is None and not self._partial.whole:
                raise RbeeError("INTERNAL", problem="a thread of a download ended without a word")

    def _changed(self, remote: Remote) -> Remote:
        """The file there is another one than a moment ago: what came of it goes.

        Where a digest vouches for the bytes, mirrors that name one file by different ETags are no
        harm: no validator is asked for from here on.
        """
        if self._digest:
            remote = replace(remote, validator="")
        else:
            remote = probe(self._means.web, remote, model=self._model)
        self._partial.anew(remote.size_bytes, remote.validator)
        return remote

    def _open(self, remote: Remote) -> None:
        """What is there already of the file counts, if it is of the same one."""
        partial = self._partial
        same = self._opened and bool(self._digest) and partial.size_bytes == remote.size_bytes
        if same:
            return
        if self._opened:
            partial.anew(remote.size_bytes, remote.validator)
            return
        partial.open(remote.size_bytes, self._digest, remote.validator)
        self._opened = True
        left_bytes = remote.size_bytes - partial.written_bytes
        need_room(partial.folder, max(left_bytes, 0), self._reserve_bytes)
        self._frontier.recheck(lambda done: self._progress("verifying", done, remote.size_bytes))
        self._frontier.start()

    def _crewed(self, remote: Remote, *, whole: bool) -> Outcome | None:
        crew = Crew(self._means, remote, self._partial, whole=whole)
        crew.start()
        try:
            while not crew.ended.wait(_TICK_S):
                self._tick()
            self._tick()
        except BaseException as exc:
            crew.stop(_LEAVE_S)
            if isinstance(exc, RbeeError) and exc.code == "DISK_FULL":
                self._partial.remove()
            else:
                self._partial.save()
            raise
        crew.stop()
        self._partial.save()
        return crew.outcome

    def _tick(self) -> None:
        """What the main thread does while parts come."""
        partial = self._partial
        for error in (self._frontier.error, self._save_error):
            if error is not None:
                raise error
        left_bytes = max(0, partial.size_bytes - partial.written_bytes)
        paused_s = self._means.brake.look(left_bytes)
        phase = "paused: disk full" if paused_s else "fetching"
        if paused_s and not self._paused:
            self._trouble(self._disk_full(), "paused the download until there is room")
        self._paused = bool(paused_s)
        self._progress(phase, partial.written_bytes, partial.size_bytes)
        if paused_s > self._means.timing.download_pause_s:
            raise self._disk_full()
        if time.monotonic() - self._saved_at > _DURABLE_EVERY_S:
            self._save_beside()

    def _disk_full(self) -> RbeeError:
        needed, free = self._means.brake.shortage()
        return RbeeError("DISK_FULL", needed_bytes=needed, free_bytes=free)

    def _save_beside(self) -> None:
        """Have the kernel write down what there is, so that a fall of the machine costs little; in
        a thread of its own, since that may take its time."""
        if self._saver is not None and self._saver.is_alive():
            return
        self._saved_at = time.monotonic()
        self._saver = threading.Thread(target=self._save, name="saves", daemon=True)
        self._saver.start()

    def _save(self) -> None:
        try:
            self._partial.save(durable=True)
        except OSError as exc:
            self._save_error = exc

    def _hashed(self) -> Hashed:
        """The hashes are never far behind the last byte."""
        size_bytes = self._partial.size_bytes
        while self._frontier.done_bytes < size_bytes:
            if self._frontier.error is not None:
                raise self._frontier.error
            self._progress("verifying", self._frontier.done_bytes, size_bytes)
            time.sleep(_HASH_LOOK_S)
        self._progress("verifying", size_bytes, size_bytes)
        self._frontier.stop()
        hashed = self._frontier.end()
        self._frontier.start()
        return hashed

    def _broken(self, remote: Remote, problem: str) -> RbeeError:
        source = source_of(remote.url)
        return RbeeError("SOURCE_BROKEN", model=self._model, source=source, problem=problem)
