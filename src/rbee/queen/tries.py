"""What each attempt at a request is asked, and what becomes of its answer.

`PlainTries` runs the same call again as long as the client has nothing of the answer. `ChatTries`
goes further: what was delivered is replayed or continued, as `policy.splice` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from msgspec import structs

from rbee.errors import RbeeError, Retry
from rbee.policy import splice
from rbee.queen.answer import Answer
from rbee.queen.attempt import Attempt, Call
from rbee.queen.core import Core
from rbee.queen.course import Course
from rbee.queen.delivery import Delivery, Facts
from rbee.queen.lanes import Lease
from rbee.queen.relay import ChatRelay, Relay, Splice, conditions_of
from rbee.wire import sse
from rbee.wire.attached import body_for, told_to_go_on
from rbee.wire.control import WorkerView
from rbee.wire.llama_server import decode_chunk
from rbee.wire.resumption import Shape, continued, finish_chunk, replayed
from rbee.wire.seam import Continuation, Replay
from rbee.wire.transcript import Transcript


class Tries(Protocol):
    """One request's attempts, one after the other."""

    def complete(self) -> bool:
        """Whether the answer is complete without another worker; it is then finished."""

    def prepare(self, lease: Lease) -> tuple[Call, Relay | None]:
        """The next attempt. Raises SPLICE_DIVERGED if what was delivered cannot be taken up."""

    def ended(self, attempt: Attempt) -> None:
        """An attempt has ended, one way or the other."""

    def objected(self, error: RbeeError) -> bool:
        """Whether the attempt failed at the splice and not at its worker: another way is tried."""

    @property
    def repairable(self) -> bool:
        """Whether another attempt can take up what the client has."""

    @property
    def partial(self) -> str | None:
        """What there is of an answer that the client has no part of."""


class PlainTries:
    """A call whose answer is passed on as it comes."""

    def __init__(self, call: Call, answer: Answer, relay: Callable[[Answer], Relay] | None) -> None:
        self._call = call
        self._answer = answer
        self._relay = relay

    def complete(self) -> bool:
        return False

    def prepare(self, lease: Lease) -> tuple[Call, Relay | None]:
        call, worker = self._call, lease.worker
        if worker.attached:
            members = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
            asked = body_for(members, worker.theirs)
            call = structs.replace(call, body=msgspec.json.encode(asked))
        return call, self._relay(self._answer) if self._relay is not None else None

    def ended(self, attempt: Attempt) -> None:
        return

    def objected(self, error: RbeeError) -> bool:
        return False

    @property
    def repairable(self) -> bool:
        return not self._answer.delivered

    @property
    def partial(self) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class Talk:
    """A chat or completions request."""

    body: Mapping[str, Any]
    """As the engine is to get it, with its seed."""
    shape: Shape
    exact: bool
    """`X-Rbee-Exact: 1`: no other text than the first attempt's, at any price."""
    stream: bool
    wants_usage: bool
    facts: Facts | None


class ChatTries:
    """Chat and completions: the delivered text is taken up by the next attempt."""

    def __init__(
        self,
        core: Core,
        call: Call,
        talk: Talk,
        answer: Answer,
        transcript: Transcript,
        course: Course,
    ) -> None:
        self._core = core
        self._call = call
        self._talk = talk
        self._answer = answer
        self._transcript = transcript
        self._course = course
        self._delivery = Delivery(
            answer,
            transcript,
            chat=talk.shape.chat,
            choices=talk.shape.choices,
            stream=talk.stream,
            wants_usage=talk.wants_usage,
            facts=talk.facts,
        )
        self._continuing = False
        self._diverged = False
        self._unwilling = False
        self._tokens_per_s = 0.0
        self._cut_at = core.clock()

    @property
    def repairable(self) -> bool:
        return True

    @property
    def partial(self) -> str | None:
        return self._delivery.partial

    def complete(self) -> bool:
        """All the tokens that were asked for went out, or the finish itself."""
        shape, transcript = self._talk.shape, self._transcript
        if not self._delivery.complete:
            limit = shape.max_tokens
            if not shape.plain or not limit or transcript.tokens < limit:
                return False
            data = finish_chunk(transcript.head, "length", chat=shape.chat)
            self._delivery.put(decode_chunk(data), sse.encode(data), data)
        self._delivery.finish()
        return True

    def prepare(self, lease: Lease) -> tuple[Call, Relay | None]:
        talk, transcript, worker = self._talk, self._transcript, lease.worker
        way = self._decide(worker)
        self._continuing = isinstance(way, splice.Continue)
        joint: Splice | None = None
        if isinstance(way, splice.Refuse):
            raise RbeeError(
                "SPLICE_DIVERGED", model=self._call.model, tokens=transcript.tokens, why=way.why
            )
        asked = body_for(talk.body, worker.theirs) if worker.attached else talk.body
        if isinstance(way, splice.Continue):
            if worker.attached and talk.shape.chat:
                asked = told_to_go_on(asked, worker.build)
            body = continued(asked, transcript, chat=talk.shape.chat)
            joint = self._joint(
                worker, Continuation(transcript, talk.shape.stops), "continue", False
            )
        else:
            cold = transcript.begun or self._runs_cold(lease)
            body = replayed(asked, cold=cold and not worker.attached)
            if transcript.begun:
                joint = self._joint(worker, Replay(transcript), "replay", way.exact)
        call = structs.replace(self._call, body=body)
        relay = ChatRelay(
            self._delivery, model=call.model, path=call.path, worker=worker, splice=joint
        )
        return call, relay

    def ended(self, attempt: Attempt) -> None:
        if attempt.gap_s:
            self._tokens_per_s = 1 / attempt.gap_s
        if attempt.progress_at:
            self._cut_at = attempt.progress_at

    def objected(self, error: RbeeError) -> bool:
        if error.code == "SPLICE_DIVERGED" and not self._diverged and not self._continuing:
            self._diverged = True
            return True
        if self._continuing and error.report.retry is Retry.NEVER and not self._unwilling:
            self._unwilling = error.code not in ("DEADLINE_EXCEEDED", "CANCELLED")
            return self._unwilling
        return False

    def _decide(self, worker: WorkerView) -> splice.Replay | splice.Continue | splice.Refuse:
        talk, transcript = self._talk, self._transcript
        cut = splice.Cut(
            plain=talk.shape.plain and transcript.text_only,
            sampled=talk.shape.sampled,
            exact_asked=talk.exact,
            delivered_tokens=transcript.tokens,
            continued=transcript.continued,
            diverged=self._diverged,
            unwilling=self._unwilling,
            exact_possible=splice.exact_possible(
                transcript.conditions, conditions_of(worker, cached_tokens=0)
            ),
            tokens_per_s=self._tokens_per_s,
        )
        return splice.decide(cut)

    def _runs_cold(self, lease: Lease) -> bool:
        core, id_ = self._core, lease.worker.id
        return splice.runs_cold(
            shared_tokens=core.warmth.cached_prefix(id_, lease.claim.conversation),
            prefill_tokens_per_s=core.speeds.of(id_),
            exact_asked=self._talk.exact,
            asked=self._talk.shape.cache_asked,
        )

    def _joint(
        self, worker: WorkerView, seam: Replay | Continuation, mode: str, exact: bool
    ) -> Splice:
        at_token = self._transcript.tokens

        def joined() -> None:
            if mode == "continue":
                self._transcript.continued = True
            if not at_token:
                return
            gap_ms = round((self._core.clock() - self._cut_at) * 1000)
            self._answer.splices.append(
                {"at_token": at_token, "mode": mode, "exact": exact, "gap_ms": gap_ms}
            )
            self._core.counters.splices[mode, exact] += 1
            how = (
                "replayed, the same text"
                if exact
                else "replayed"
                if mode == "replay"
                else "continued"
            )
            self._course.tell(f"{worker.id} went on after token {at_token} ({how})", "ok")

        return Splice(seam, mode, exact, at_token, joined)
