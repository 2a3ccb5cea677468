"""The wishes of this machine and who fulfils them: as many living workers as wished, no more.

The queen's wishes come as a whole (`Welcome`) or one by one (`Want`, `Unwant`). An equal wish
changes nothing. A wish that only differs in number or patience keeps its workers; with any other
difference new ones are started beside them, where memory allows, and they drain once those serve.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from rbee.hive.worker_owner import WorkerOwner
from rbee.policy.worker_life import Event, State
from rbee.settings import KEEP_ALWAYS
from rbee.wire.control import ModelWish, Problem

Key = tuple[str, str]
"""Public name and mode."""

MIN_STAY_S = 10.0
"""A worker that has served nobody yet stays so long, whatever its keep_alive: it was loaded for
somebody who may still be waiting."""


_SERVING = frozenset({State.READY, State.BUSY})
_STARTS_AGAIN = frozenset({State.STARTING, State.LOADING})


@dataclass(slots=True)
class _Seats:
    """One wish and its workers."""

    wish: ModelWish
    owners: list[WorkerOwner] = field(default_factory=list)
    outgoing: list[WorkerOwner] = field(default_factory=list)
    """They serve until those in `owners` do."""
    fingerprint: object = None
    """What the lasting failure of this wish depended on, as it was then."""


def _key(wish: ModelWish) -> Key:
    return (wish.name, wish.mode)


def _same_workers(one: ModelWish, other: ModelWish) -> bool:
    """Whether workers of one wish serve the other as they are."""
    neutral = {"replicas": 1, "keep_alive_s": 0.0}
    return msgspec.structs.replace(one, **neutral) == msgspec.structs.replace(other, **neutral)


class Roster:
    """Owner of the desired state. `make` makes an owner that is not started yet;
    `unservable` tells the queen that a wish cannot be fulfilled; `fingerprint` gives what a lasting
    failure of a wish depends on (file, engine), to see when it has changed."""

    def __init__(
        self,
        make: Callable[[ModelWish, int], WorkerOwner],
        unservable: Callable[[ModelWish, Problem], None],
        fingerprint: Callable[[ModelWish], object],
    ) -> None:
        self._make = make
        self._unservable = unservable
        self._fingerprint = fingerprint
        self._seats: dict[Key, _Seats] = {}
        self._leaving: set[WorkerOwner] = set()
        self.closed = False
        """No new worker is started any more."""

    def owners(self) -> Iterator[WorkerOwner]:
        """All that are not gone, the draining ones too."""
        for seats in tuple(self._seats.values()):
            yield from (*seats.owners, *seats.outgoing)
        yield from tuple(self._leaving)

    def find(self, worker_id: str) -> WorkerOwner | None:
        """The owner whose process of now has this id."""
        return next((owner for owner in self.owners() if owner.id == worker_id), None)

    def adopt(self, owner: WorkerOwner) -> None:
        """A worker of an earlier hive: it stands for the wish that it was started for."""
        seats = self._seats.setdefault(_key(owner.wish), _Seats(owner.wish))
        if _same_workers(seats.wish, owner.wish):
            seats.owners.append(owner)
        else:
            self._leave(owner)

    def welcome(self, wishes: Iterable[ModelWish]) -> None:
        """The whole desired state: what is not in it drains."""
        wanted = {_key(wish): wish for wish in wishes}
        for key in [key for key in self._seats if key not in wanted]:
            self._drop(key)
        for wish in wanted.values():
            self.want(wish)

    def want(self, wish: ModelWish, *, fresh: bool = False) -> None:
        """Have this wish fulfilled; idempotent. `fresh` forgets failures and quarantine."""
        if self.closed:
            return
        seats = self._seats.setdefault(_key(wish), _Seats(wish))
        if not _same_workers(seats.wish, wish):
            self._supersede(seats, tuple(seats.owners))
        seats.wish = wish
        for owner in seats.owners:
            owner.wish = wish
            if fresh:
                owner.wanted_afresh()
        for owner in seats.owners[wish.replicas :]:
            seats.owners.remove(owner)
            self._leave(owner)
        self._fill(seats)
        self._tell_lasting(seats)

    def replace(self, owner: WorkerOwner, *, trial: str = "") -> None:
        """Another one takes its place; it drains once that one serves. `trial`: on this device."""
        seats = self._seats.get(_key(owner.wish))
        if seats is not None and owner in seats.owners:
            self._supersede(seats, (owner,))
            self._fill(seats, trial=trial)

    def give_back(self, owner: WorkerOwner) -> None:
        """Its trial came to nothing: the one whose place it was to take keeps it; if that one is
        gone meanwhile, it goes on itself, wherever it may."""
        seats = self._seats.get(_key(owner.wish))
        owner.trial = ""
        if seats is None or owner not in seats.owners:
            return
        if not seats.outgoing:
            owner.wanted_afresh()
            return
        old = seats.outgoing.pop()
        old.outgoing = False
        seats.owners[seats.owners.index(owner)] = old
        self._leave(owner)

    def give_way(self, owner: WorkerOwner) -> None:
        """It drains because another model needs its memory; what it answers is finished."""
        owner.unhurried = True
        seats = self._seats.get(_key(owner.wish))
        if seats is None or owner in self._leaving:
            return
        if owner in seats.outgoing:
            seats.outgoing.remove(owner)
        else:
            seats.owners.remove(owner)
            if not seats.owners:
                self._drop(_key(owner.wish))
        self._leave(owner)

    def settle(self) -> None:
        """Those whose successors all serve drain now; what died meanwhile is not started again."""
        for seats in tuple(self._seats.values()):
            for owner in [one for one in seats.outgoing if one.state in _STARTS_AGAIN]:
                seats.outgoing.remove(owner)
                self._leave(owner)
            if seats.outgoing and all(owner.state in _SERVING for owner in seats.owners):
                outgoing, seats.outgoing = seats.outgoing, []
                for owner in outgoing:
                    self._leave(owner)

    def unwant(self, model: str, mode: str = "") -> None:
        """Nobody wishes this model any more (empty mode: none of its modes)."""
        for key in [key for key in self._seats if key[0] == model and mode in ("", key[1])]:
            self._drop(key)

    def renew(self, stale: Callable[[WorkerOwner], bool], *, damaged: bool = False) -> None:
        """Another file stands for their model now: new workers are started beside them. Those that
        may have read a `damaged` file drain at once."""
        for seats in tuple(self._seats.values()):
            old = [] if self.closed else [owner for owner in seats.owners if stale(owner)]
            if damaged:
                for owner in [*old, *seats.outgoing]:
                    self._leave(owner)
                seats.owners = [owner for owner in seats.owners if owner not in old]
                seats.outgoing = []
            else:
                self._supersede(seats, old)
            self._fill(seats)

    def failed_lastingly(self, owner: WorkerOwner, problem: Problem) -> None:
        """It will not be started again by itself: whoever waits for the wish is told."""
        seats = self._seats.get(_key(owner.wish))
        if seats is None or owner not in seats.owners:
            return
        seats.fingerprint = self._fingerprint(seats.wish)
        if not seats.outgoing and not any(
            other.lasting_problem is None for other in seats.owners if other is not owner
        ):
            self._unservable(seats.wish, problem)

    def finished(self, owner: WorkerOwner) -> None:
        """It is gone; if its wish still stands, another one takes its seat."""
        self._leaving.discard(owner)
        seats = self._seats.get(_key(owner.wish))
        if seats is not None and owner in seats.outgoing:
            seats.outgoing.remove(owner)
        if seats is not None and owner in seats.owners:
            seats.owners.remove(owner)
            self._fill(seats)

    def tick(self) -> None:
        """Every second or so: what was idle for too long drains, what changed is tried again."""
        now = time.monotonic()
        for key, seats in tuple(self._seats.items()):
            if _idle_over(seats, now):
                del self._seats[key]
                for owner in [*seats.owners, *seats.outgoing]:
                    self._leave(owner, Event.IDLE_OVER)
            elif any(owner.lasting_problem for owner in seats.owners):
                self._try_again(seats)

    def leave(self) -> None:
        """Drain everything; no new worker is started any more."""
        self.closed = True
        for key in tuple(self._seats):
            self._drop(key)

    def stop_now(self) -> None:
        """End everything without waiting for answers."""
        self.leave()
        for owner in tuple(self._leaving):
            owner.tell(Event.STOP_NOW)

    def _fill(self, seats: _Seats, *, trial: str = "") -> None:
        while not self.closed and len(seats.owners) < seats.wish.replicas:
            owner = self._make(seats.wish, 0)
            owner.trial = trial
            seats.owners.append(owner)
            owner.start()

    def _drop(self, key: Key) -> None:
        seats = self._seats.pop(key)
        for owner in [*seats.owners, *seats.outgoing]:
            self._leave(owner)

    def _supersede(self, seats: _Seats, owners: Iterable[WorkerOwner]) -> None:
        """They lose their seats; those that serve go on until their successors do."""
        for owner in tuple(owners):
            seats.owners.remove(owner)
            if owner.state in _SERVING:
                owner.outgoing = True
                seats.outgoing.append(owner)
            else:
                self._leave(owner)

    def _leave(self, owner: WorkerOwner, event: Event = Event.UNWANTED) -> None:
        self._leaving.add(owner)
        owner.tell(event)

    def _tell_lasting(self, seats: _Seats) -> None:
        problems = [owner.lasting_problem for owner in seats.owners]
        if seats.outgoing:
            return
        if problems and all(problems) and problems[0] is not None:
            self._unservable(seats.wish, problems[0])

    def _try_again(self, seats: _Seats) -> None:
        """A remembered failure holds until what it depended on has changed."""
        now = self._fingerprint(seats.wish)
        if now == seats.fingerprint:
            return
        seats.fingerprint = now
        for owner in seats.owners:
            if owner.state is State.FAILED and owner.lasting_problem:
                owner.wanted_afresh()


def _idle_over(seats: _Seats, now: float) -> bool:
    """Whether all workers of a wish have been idle for its keep_alive."""
    if seats.wish.keep_alive_s == KEEP_ALWAYS or not seats.owners:
        return False
    return all(
        owner.state is State.READY and now - owner.idle_since >= _patience_s(seats.wish, owner)
        for owner in seats.owners
    )


def _patience_s(wish: ModelWish, owner: WorkerOwner) -> float:
    return wish.keep_alive_s if owner.answers else max(MIN_STAY_S, wish.keep_alive_s)
