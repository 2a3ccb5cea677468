"""One job: its text, its life, and who follows it.

An event of a job is sent only after the journal has it, so that nobody ever holds text that the
journal lacks: `pieces` is what there is, `kept_count` how much of it may be sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from rbee.edge.journal import Journal
from rbee.errors import RbeeError
from rbee.policy.job_life import Effect, Event, Life, State
from rbee.wire import jobs as wire
from rbee.wire import sse
from rbee.wire.control import Problem
from rbee.wire.problem import encode, from_problem, to_problem

_PHASES = {"queued": Event.QUEUES, "loading": Event.LOADS}


class Follower(Protocol):
    """Somebody who is attached."""

    def look(self) -> None:
        """There is more to send, or the job is over."""

    def note(self, words: str, facts: Mapping[str, Any]) -> None:
        """What the job waits for."""


class Keeper(Protocol):
    """Who owns all jobs."""

    def alone(self, job: Job) -> None:
        """The last who was attached has left."""

    def sealed(self, job: Job) -> None:
        """It has ended, and that is on the disk."""

    def gone(self, job: Job) -> None:
        """Its time is over."""


class Job:
    """Owner of one job. Without a journal its text is only in memory."""

    def __init__(self, record: wire.Record, keeper: Keeper, journal: Journal | None) -> None:
        self.record = record
        self.life = Life()
        self.waits: Mapping[str, Any] = {}
        """What it waits for, as its clients are told."""
        self.pieces: list[bytes] = []
        """The events of the answer as they are sent, the first at 0."""
        self.kept_count = 0
        self.whole: tuple[int, bytes, str] | None = None
        """An answer in one piece: status, body, type."""
        self.headers: list[tuple[str, str]] = []
        self.error: RbeeError | None = None
        self.attempts: list[Mapping[str, Any]] = []
        self.splices: list[Mapping[str, Any]] = []
        self.mark = wire.Mark()
        """What an earlier life knew of how the answer came about."""
        self.outcome: wire.Outcome | None = None
        self.over = False
        """It has ended, and whoever is attached may be told."""
        self.work: asyncio.Task[None] | None = None
        self.followers: dict[Follower, None] = {}
        self.alone_timer: asyncio.TimerHandle | None = None
        self.client_timeout_s = 0.0
        """After how long its client gives up and asks again; 0: not known."""
        self.client_waited_s = 0.0
        """How long the last client that left had waited."""
        self.size_bytes = len(record.request)
        self._crcs: list[int] = []
        """Of the text after each event, as far as somebody wanted to know."""
        self._number = 0
        self._unwritten: list[bytes] = []
        self._taken = 0
        self._keeper = keeper
        self._journal = journal

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def journalled(self) -> bool:
        return self._journal is not None

    @property
    def status(self) -> State:
        """As it is told: an end counts once it is on the disk."""
        return self.life.state if self.life.active or self.over else State.RUNNING

    @property
    def last_event_id(self) -> str:
        """Of the last event that may be sent; empty: there is none yet."""
        return self.event_id(self.kept_count) if self.kept_count else ""

    def crc(self, number: int) -> int:
        """Of the text after so many events."""
        crcs = self._crcs
        while len(crcs) < number:
            data = wire.payload(self.pieces[len(crcs)])
            crcs.append(wire.crc_after(crcs[-1] if crcs else 0, data))
        return crcs[number - 1] if number else 0

    def event_id(self, number: int) -> str:
        return wire.event_id(number, self.crc(number))

    def with_id(self, number: int) -> bytes:
        """The event as `GET /v1/jobs/{id}/stream` sends it."""
        return b"id: %d-%08x\n%b" % (number, self.crc(number), self.pieces[number - 1])

    # --- its work tells ----------------------------------------------------------------------

    def add(self, raw: bytes) -> None:
        """One more event of the answer."""
        self._append(raw)
        if self.life.state is not State.RUNNING:
            self.tell(Event.RUNS)
        if self._journal is not None:
            self._unwritten.append(raw)
            self._journal.grow(self)
        else:
            self.kept_count = len(self.pieces)
            self._wake()

    def remember(self, mark: wire.Mark) -> None:
        """Something else has changed that must be known to take the answer up."""
        self._unwritten.append(mark.written())

    def note(self, words: str, facts: Mapping[str, Any]) -> None:
        self.waits = facts
        self.tell(_PHASES.get(str(facts.get("phase")), Event.RUNS))
        for follower in list(self.followers):
            follower.note(words, facts)

    def taken(self) -> None:
        """A worker has it."""
        self.waits = {}
        self.tell(Event.RUNS)

    def finished(self) -> None:
        self.tell(Event.FINISHED)

    def broke(self, error: RbeeError) -> None:
        if not self.life.active:
            return
        self.error = error
        self.tell(Event.STOPS if self._goes_on_after(error) else Event.BROKE)

    def cancel(self) -> None:
        if self.life.active:
            self.error = RbeeError("CANCELLED")
        self.tell(Event.CANCEL)

    def stop(self) -> None:
        """rbee stops; the next one goes on."""
        error = RbeeError("SHUTTING_DOWN")
        if self.life.active and not self._goes_on_after(error):
            self.fail(error)
            return
        if self.life.active:
            self.error = error
        self.tell(Event.STOPS)

    def tell(self, event: Event) -> None:
        for effect in self.life.tell(event):
            self._do(effect)

    # --- the journal tells -------------------------------------------------------------------

    @property
    def number(self) -> int:
        return self._number

    def begin(self, told: Callable[[RbeeError | None], None]) -> None:
        """Have the request kept before anything runs."""
        if self._journal is None:
            told(None)
        else:
            self._number = self._journal.create(encode(self.record), told)

    def take(self) -> bytes:
        text, self._unwritten = b"".join(self._unwritten), []
        self._taken = len(self.pieces)
        return text

    def kept(self, error: RbeeError | None) -> None:
        if error is not None:
            self.fail(error)
            return
        self.kept_count = self._taken
        self._wake()

    def fail(self, error: RbeeError) -> None:
        """End it, and its work, with that error."""
        self.broke(error)
        if self.work is not None:
            self.work.cancel()

    # --- who follows it ----------------------------------------------------------------------

    def attach(self, follower: Follower) -> None:
        self.followers[follower] = None
        if self.alone_timer is not None:
            self.alone_timer.cancel()
            self.alone_timer = None

    def detach(self, follower: Follower, waited_s: float) -> None:
        self.followers.pop(follower, None)
        self.client_waited_s = waited_s
        if not self.followers and self.life.active:
            self._keeper.alone(self)

    # --- a restart ---------------------------------------------------------------------------

    def recall(self, number: int, events: list[sse.Event], outcome: wire.Outcome | None) -> None:
        """Be what the journal says."""
        self._number = number
        for event in events:
            if event.data is not None:
                self._append(event.raw)
            else:
                self.mark = wire.Mark.read(event.raw) or self.mark
        self.attempts = list(self.mark.attempts)
        self.splices = list(self.mark.splices)
        self._taken = self.kept_count = len(self.pieces)
        if outcome is None:
            return
        self.outcome, self.over = outcome, True
        self.life = Life(State(outcome.status))
        self.attempts, self.splices = list(outcome.attempts), list(outcome.splices)
        if outcome.problem is not None:
            self.error = from_problem(outcome.problem)

    def _goes_on_after(self, error: RbeeError) -> bool:
        """Whether the next rbee takes it up: one that ends with its client ends with this one."""
        return error.code == "SHUTTING_DOWN" and self.record.on_disconnect == wire.CONTINUE

    def _append(self, raw: bytes) -> None:
        self.pieces.append(raw)
        self.size_bytes += len(raw)

    def _do(self, effect: Effect) -> None:
        if effect is Effect.STOP and self.work is not None:
            self.work.cancel()
        elif effect is Effect.SEAL:
            self._seal()
        elif effect is Effect.PART:
            self._ended()
        elif effect is Effect.ERASE:
            if self._journal is not None:
                self._journal.erase(self._number)
            self._keeper.gone(self)

    def _seal(self) -> None:
        self.outcome = wire.Outcome(
            status=self.life.state.value,
            ended_at=time.time(),
            problem=self._problem(),
            attempts=tuple(dict(one) for one in self.attempts),
            splices=tuple(dict(one) for one in self.splices),
        )
        if self._journal is None:
            self._ended()
        else:
            self._journal.end(self._number, encode(self.outcome), lambda _: self._ended())

    def _problem(self) -> Problem | None:
        return to_problem(self.error.report) if self.error is not None else None

    def _ended(self) -> None:
        self.over = True
        self._wake()
        if self.life.ended:
            self._keeper.sealed(self)

    def _wake(self) -> None:
        for follower in list(self.followers):
            follower.look()
