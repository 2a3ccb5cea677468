"""What becomes of an engine's stream on its way to the client.

Each relay takes the events of one attempt, in order, and knows when the answer is complete: only
an explicit finish of its dialect counts, never `[DONE]` or the end of the connection alone (most
SDKs take such an end for success, so we must not cause it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rbee.errors import RbeeError
from rbee.queen.delivery import Delivery
from rbee.wire import sse
from rbee.wire.attached import renaming
from rbee.wire.control import WorkerView
from rbee.wire.llama_server import Chunk, PromptProgress, decode_chunk, stream_error
from rbee.wire.seam import Diverged, Seam
from rbee.wire.transcript import Conditions, Transcript
from rbee.wire.unreadable import UNREADABLE


class Relay(Protocol):
    """One attempt's stream. `tokens` and `prompt` are its progress, `problem` its end if bad."""

    tokens: int
    prompt: PromptProgress | None
    problem: RbeeError | None
    slow: bool
    """The client does not read: the engine is to be paused."""

    @property
    def complete(self) -> bool: ...

    @property
    def replaying(self) -> bool:
        """It says what the client has already."""

    @property
    def over(self) -> bool:
        """The answer is complete before the engine's end of it: nothing more is read."""

    def take(self, event: sse.Event) -> None: ...

    def finish(self) -> None:
        """End the client's answer; called once, when `complete`."""


@dataclass(frozen=True, slots=True)
class Splice:
    """How an attempt takes up what an earlier one has delivered."""

    seam: Seam
    mode: str
    exact: bool
    from_token: int
    joined: Callable[[], None]
    """Called once, with the first chunk that is new to the client."""


class ChatRelay:
    """One attempt at a chat or completions answer."""

    def __init__(
        self,
        delivery: Delivery,
        *,
        model: str,
        path: str,
        worker: WorkerView,
        splice: Splice | None = None,
    ) -> None:
        self.tokens = 0
        self.prompt: PromptProgress | None = None
        self.problem: RbeeError | None = None
        self.slow = False
        self._delivery = delivery
        self._model = model
        self._path = path
        self._worker = worker
        self._rename = renaming(worker.theirs, model) if worker.attached else None
        self._splice = splice
        self._joined = splice is None

    @property
    def complete(self) -> bool:
        return self._delivery.complete

    @property
    def replaying(self) -> bool:
        return not self._joined

    @property
    def over(self) -> bool:
        return self._splice is not None and self._splice.seam.over

    def take(self, event: sse.Event) -> None:
        if event.data is None or event.data == b"[DONE]" or self.problem is not None or self.over:
            return
        if self._rename is not None:
            event = sse.Event(self._rename(event.raw), self._rename(event.data), event.name)
        assert event.data is not None
        try:
            self._read(event.raw, event.data)
        except UNREADABLE:
            self.problem = RbeeError(
                "WORKER_LOST",
                model=self._model,
                tokens=self._delivery.transcript.tokens,
                problem="it sent an event that cannot be read",
                worker=self._worker.id,
            )

    def finish(self) -> None:
        self._delivery.finish()

    def _read(self, raw: bytes, data: bytes) -> None:
        """Raises what `wire.unreadable` names, before anything of it went out."""
        chunk = decode_chunk(data)
        if chunk.error is not None:
            self.problem = stream_error(chunk.error, model=self._model, path=self._path)
        elif chunk.prompt_progress is not None:
            self.prompt = chunk.prompt_progress
        else:
            self._take(chunk, raw, data)

    def _take(self, chunk: Chunk, raw: bytes, data: bytes) -> None:
        place = self._delivery.answer.place
        if chunk.usage is not None and place is not None:
            place.count(data)
        if self._delivery.wants(chunk):
            self.tokens += bool(chunk.choices)
            if self._splice is not None:
                self._join(self._splice, data)
            else:
                self._put(chunk, raw, data)

    def _join(self, splice: Splice, data: bytes) -> None:
        """Only what the client does not have goes out."""
        try:
            new = splice.seam.take(data)
        except Diverged:
            self.problem = RbeeError(
                "SPLICE_DIVERGED",
                model=self._model,
                tokens=splice.from_token,
                why="another worker says something else",
            )
            return
        if new is None:
            return
        chunk = decode_chunk(new)
        if not self._joined and chunk.choices:
            self._joined = True
            splice.joined()
        self._put(chunk, sse.encode(new), new)

    def _put(self, chunk: Chunk, raw: bytes, data: bytes) -> None:
        transcript = self._delivery.transcript
        if transcript.head is None:
            self._note_conditions(transcript)
        if not self._delivery.put(chunk, raw, data):
            self.slow = True

    def _note_conditions(self, transcript: Transcript) -> None:
        """The first chunk of the first attempt goes out: what a replay must match is known now."""
        prompt = self.prompt
        transcript.prompt_tokens = prompt.total if prompt else 0
        transcript.conditions = conditions_of(self._worker, prompt.cache if prompt else _UNKNOWN)


_UNKNOWN = -1
"""Cached tokens of an engine that says nothing of its progress: no replay of it is exact."""


def conditions_of(worker: WorkerView, cached_tokens: int) -> Conditions:
    """What an attempt on this worker runs under."""
    return Conditions(worker.digest, worker.build, worker.device, worker.settings, cached_tokens)
