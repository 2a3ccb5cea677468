"""A model, its workers and its clients under virtual time: the product's own lanes, health and
policies, with answers that only take time."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from rbee.errors import RbeeError
from rbee.policy.admission import Claim
from rbee.policy.affinity import Conversation, Prefix, Warmth
from rbee.policy.fair_queue import Priority
from rbee.queen.lanes import Lanes, Lease, Ticket
from rbee.queen.roster import Roster
from rbee.queen.worker_health import WorkerHealth
from rbee.settings import Timing
from rbee.wire.control import WorkerView

LANE = ("m", "chat")


@dataclass(eq=False)
class Client:
    """One request, as often as it comes."""

    number: int
    key: str = ""
    priority: Priority = Priority.NORMAL
    body: int = 0
    """What it asks, if others ask the same; 0: something of its own."""
    arrived_at: float = 0.0
    refused: int = 0
    told_s: list[float] = field(default_factory=list)
    began_at: float | None = None
    ticket: Ticket | None = None

    def claim(self) -> Claim:
        conversation = Conversation((Prefix(self.body or -1 - self.number, 10),))
        return Claim(self.key, self.priority, conversation)


class QueueWorld:
    """Events in the order of their times; nothing here waits for a clock."""

    def __init__(self, seed: int, *, queue_limit: int = 100, timing: Timing = Timing()) -> None:
        self.dice = random.Random(seed)
        self.now = 0.0
        self.happened: list[tuple[str, str]] = []
        self.roster = Roster()
        warmth = Warmth()
        self.health = WorkerHealth(
            self.roster,
            timing,
            clock=lambda: self.now,
            warmth=warmth,
            tell=lambda code, worker, what, done: self.happened.append((code, worker.id)),
        )
        self.lanes = Lanes(
            self.roster,
            self.health,
            warmth,
            queue_limit=queue_limit,
            clock=lambda: self.now,
            tell_busy=lambda worker, count: None,
        )
        self.service: Callable[[str], tuple[float, str | None]] = lambda worker: (1.0, None)
        """How long an attempt on a worker takes, and the code that it ends with."""
        self.given: Counter[str] = Counter()
        self.attempts: list[tuple[float, str, str | None]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._waiting: list[Client] = []

    def worker(self, id_: str, slots: int = 4) -> None:
        self.roster.put(WorkerView(id_, "h", *LANE[:1], "ref", LANE[1], "READY", slots=slots))

    def at(self, when: float, act: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, act))

    def come(self, client: Client) -> RbeeError | None:
        """A client asks; gives the refusal, if it is one."""
        client.arrived_at = self.now
        try:
            client.ticket = self.lanes.enter(LANE, loading_slots=1, claim=client.claim())
        except RbeeError as error:
            client.refused += 1
            return error
        self._waiting.append(client)
        self._begin()
        return None

    def run(self, until: float = float("inf"), most: int = 1_000_000) -> None:
        """Let happen what is due until then, or until nothing is left to happen."""

        async def inside() -> None:
            for _ in range(most):
                if not self._events or self._events[0][0] > until:
                    return
                self.now, _, act = heapq.heappop(self._events)
                act()
                self.lanes.look()
                self._begin()
            raise AssertionError("the simulation does not end")

        asyncio.run(inside())

    def _begin(self) -> None:
        """Whoever has a lease now begins."""
        for client in [one for one in self._waiting if one.ticket and one.ticket.lease.done()]:
            self._waiting.remove(client)
            ticket = client.ticket
            assert ticket is not None
            if ticket.lease.exception() is not None:
                client.refused += 1
                continue
            self._attempt(client, ticket.lease.result())

    def _attempt(self, client: Client, lease: Lease) -> None:
        client.began_at = self.now
        self.given[lease.worker.id] += 1
        took_s, code = self.service(lease.worker.id)

        def end() -> None:
            self.attempts.append((self.now, lease.worker.id, code))
            self.health.ended(lease, code, first_token_s=None if code else took_s / 4)
            self.lanes.release(lease, served=code is None)

        self.at(self.now + took_s, end)
