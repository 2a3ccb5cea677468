"""The wait for a slot: bounded in time, visible to the client, ended by a hang-up.

Who waits sleeps until there is a slot, or until the next thing of its own is due: the end of its
patience, its deadline, a word to its client. Ten thousand in line cost the loop nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from rbee.errors import RbeeError
from rbee.policy.admission import Claim
from rbee.queen.answer import Answer
from rbee.queen.attempt import Call
from rbee.queen.core import Core
from rbee.queen.lanes import Lease, Ticket
from rbee.queen.relay import Relay
from rbee.queen.roster import LaneKey
from rbee.queen.served_models import Served
from rbee.wire.attached import PATHS

_SOON_S = 0.001
"""Shortest sleep: what is due now is looked at in the next turn of the loop."""


class Waiting:
    """Takes places in line for one request until it has a slot."""

    def __init__(
        self,
        core: Core,
        served: Served,
        lane: LaneKey,
        call: Call,
        claim: Claim,
        telling: Telling,
    ) -> None:
        self._core = core
        self._served = served
        self._lane = lane
        self._call = call
        self._claim = claim
        self._telling = telling

    async def lease(self, tried: list[str], *, again: bool) -> Lease:
        """A slot. `again`: it had one before, and is not refused for want of room."""
        core, served = self._core, self._served
        core.ensure(served, self._lane, ours=not self._open_to_attached)
        ticket = core.lanes.enter(
            self._lane,
            loading_slots=served.slots,
            tried=(*tried, *self._others()),
            claim=self._claim,
            again=again,
        )
        try:
            while not ticket.lease.done():
                await asyncio.wait({ticket.lease}, timeout=self._rest_s(ticket))
                if not ticket.lease.done():
                    self._check(ticket)
            lease = ticket.lease.result()
            served.check(lease.worker.digest)
            self._check_route(lease)
            return lease
        except BaseException:
            core.lanes.leave(ticket)
            raise

    @property
    def _open_to_attached(self) -> bool:
        return self._call.path in PATHS

    def _others(self) -> list[str]:
        """Workers of another version than the one that was asked for, and attached servers where
        the route is none of theirs."""
        pin, open_to_attached = self._served.pin, self._open_to_attached
        return [
            one.id
            for one in self._core.roster.serving(self._lane)
            if (pin and one.digest != pin) or (one.attached and not open_to_attached)
        ]

    def _check_route(self, lease: Lease) -> None:
        """Raises ENDPOINT_UNSUPPORTED if no worker of ours is there for what only ours can do."""
        if lease.worker.attached and not self._open_to_attached:
            says = "an attached server is asked for chat, completions and embeddings alone"
            raise RbeeError(
                "ENDPOINT_UNSUPPORTED",
                model=self._call.model,
                path=self._call.path,
                engine_says=says,
            )

    def _rest_s(self, ticket: Ticket) -> float:
        """Until something is due."""
        core, call = self._core, self._call
        now = core.clock()
        rests = [core.settings.limits.queue_wait_s - core.lanes.waited_s(ticket)]
        if call.deadline is not None:
            rests.append(call.deadline.at - now)
        if self._telling.next_at is not None:
            rests.append(self._telling.next_at - now)
        if core.hive_given_up_at is not None and core.hive_given_up_at > now:
            rests.append(core.hive_given_up_at - now)
        return max(_SOON_S, min(rests))

    def _check(self, ticket: Ticket) -> None:
        core, call = self._core, self._call
        core.check_hive(ticket.lane)
        limit_s = core.settings.limits.queue_wait_s
        if core.lanes.waited_s(ticket) >= limit_s:
            raise RbeeError("QUEUE_TIMEOUT", model=call.model, limit_s=limit_s)
        now = core.clock()
        if call.deadline is not None and call.deadline.passed(now):
            phase = "waiting for a slot"
            raise RbeeError("DEADLINE_EXCEEDED", deadline_s=call.deadline.allowed_s, phase=phase)
        self._telling.waiting(core.lanes.waiting_facts(ticket), now)


class Telling:
    """Tells a waiting client how things stand: typed events at once, comments after the hold."""

    def __init__(self, core: Core, answer: Answer, *, streams: bool) -> None:
        timing = core.settings.timing
        self._answer = answer
        self._streams = streams
        self._every_s = 0.5 if answer.typed_events else timing.comment_every_s
        held_s = 0.25 if answer.typed_events else timing.hold_status_s
        self._next_at = core.clock() + held_s
        self._last: Mapping[str, Any] = {}

    @property
    def next_at(self) -> float | None:
        """When the client is told something again; None: never."""
        return self._next_at if self._streams else None

    def waiting(self, facts: Mapping[str, Any], now: float) -> None:
        if not self._streams or now < self._next_at:
            return
        self._next_at = now + self._every_s
        if self._answer.typed_events and facts == self._last:
            return
        self._last = facts
        self._answer.note(_words(facts), facts)

    def looked(self, relay: Relay, now: float) -> None:
        if relay.tokens:
            if relay.replaying:
                self.waiting({"phase": "replay", "tokens": relay.tokens}, now)
            return
        prompt = relay.prompt
        share = prompt.processed / prompt.total if prompt and prompt.total else 0.0
        self.waiting({"phase": "prefill", "progress": round(share, 3)}, now)


def _words(facts: Mapping[str, Any]) -> str:
    if facts["phase"] == "queued":
        wait_s = facts.get("expected_wait_s")
        return f"queued, place {facts['position']}" + (f", about {wait_s:.0f} s" if wait_s else "")
    if facts.get("waits_for"):
        return f"waiting for the memory that {', '.join(facts['waits_for'])} holds"
    if facts["phase"] == "loading":
        return "loading the model"
    if facts["phase"] == "replay":
        return f"another worker has come to token {facts['tokens']} of what you have"
    return f"reading the prompt, {facts['progress']:.0%}"
