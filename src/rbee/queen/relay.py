"""What becomes of an engine's stream on its way to the client.

Each relay takes the events of one attempt, in order, and knows when the answer is complete: only
an explicit finish of its dialect counts, never `[DONE]` or the end of the connection alone (most
SDKs take such an end for success, so we must not cause it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from rbee.errors import RbeeError
from rbee.queen.answer import Answer, Dialect
from rbee.wire import sse
from rbee.wire.assembly import Assembly
from rbee.wire.llama_server import Chunk, PromptProgress, decode_chunk, stream_error
from rbee.wire.problem import encode
from rbee.wire.unreadable import UNREADABLE


class Relay(Protocol):
    """One attempt's stream. `tokens` and `prompt` are its progress, `problem` its end if bad."""

    tokens: int
    prompt: PromptProgress | None
    problem: RbeeError | None
    complete: bool
    slow: bool
    """The client does not read: the engine is to be paused."""

    def take(self, event: sse.Event) -> None: ...

    def finish(self) -> None:
        """End the client's answer; called once, when `complete`."""


Facts = Callable[[], Mapping[str, Any]]
"""What the `rbee` object of the finish chunk says."""


class ChatRelay:
    """Chat and text completions, streamed on or put together as one object."""

    def __init__(
        self,
        answer: Answer,
        *,
        model: str,
        path: str,
        choices: int,
        stream: bool,
        wants_usage: bool,
        facts: Facts | None,
    ) -> None:
        self.tokens = 0
        self.prompt: PromptProgress | None = None
        self.problem: RbeeError | None = None
        self.complete = False
        self.slow = False
        self._answer = answer
        self._model = model
        self._path = path
        self._to_finish = choices
        self._wants_usage = wants_usage
        self._facts = facts
        self._whole = None if stream else Assembly(chat=path.endswith("chat/completions"))

    def take(self, event: sse.Event) -> None:
        if event.data is None or event.data == b"[DONE]" or self.problem is not None:
            return
        try:
            chunk = decode_chunk(event.data)
        except UNREADABLE:
            self.problem = RbeeError(
                "WORKER_LOST",
                model=self._model,
                tokens=self.tokens,
                problem="it sent an event that cannot be read",
            )
            return
        if chunk.error is not None:
            self.problem = stream_error(bytes(chunk.error), model=self._model, path=self._path)
        elif chunk.prompt_progress is not None:
            self.prompt = chunk.prompt_progress
        elif chunk.choices:
            self._take_choices(chunk, event)
        elif chunk.usage is not None:
            if self._answer.place is not None:
                self._answer.place.count(event.data)
            if self._wants_usage or self._whole is not None:
                self._forward(event.raw, event.data)

    def finish(self) -> None:
        if self._whole is None:
            self._answer.finish_stream(done_mark=True)
            return
        result = self._whole.result()
        if self._facts is not None:
            result["rbee"] = self._facts()
        self._answer.whole(200, encode(result))

    def _take_choices(self, chunk: Chunk, event: sse.Event) -> None:
        assert event.data is not None
        self.tokens += 1
        finished = chunk.finished
        if not finished:
            self._forward(event.raw, event.data)
            return
        self._to_finish -= finished
        self.complete = self._to_finish <= 0
        if self.complete and self._facts is not None and self._whole is None:
            value = msgspec.json.decode(event.data)
            value["rbee"] = self._facts()
            data = encode(value)
            self._forward(sse.encode(data), data)
        else:
            self._forward(event.raw, event.data)

    def _forward(self, raw: bytes, data: bytes) -> None:
        if self._whole is not None:
            self._whole.add(data)
        elif not self._answer.send(raw):
            self.slow = True


_FINISH_MARKS = {
    Dialect.RESPONSES: (b"response.completed", b"response.incomplete", b"response.failed"),
    Dialect.ANTHROPIC: (b"message_stop",),
    Dialect.NATIVE: (b'"stop":true', b'"stop": true'),
    Dialect.OPENAI: (b'"finish_reason":"',),
}


class PassRelay:
    """A stream of another dialect, forwarded as it is, engine comments left out."""

    def __init__(self, answer: Answer, *, model: str) -> None:
        self.tokens = 0
        self.prompt: PromptProgress | None = None
        self.problem: RbeeError | None = None
        self.complete = False
        self.slow = False
        self._answer = answer
        self._model = model

    def take(self, event: sse.Event) -> None:
        if event.data is None or self.problem is not None:
            return
        self.tokens += 1
        if self._answer.dialect is not Dialect.OPENAI and event.data == b"[DONE]":
            return
        if self._answer.place is not None:
            self._answer.place.count(event.data)
        named = event.name or event.data
        self.complete |= any(mark in named for mark in _FINISH_MARKS[self._answer.dialect])
        if not self._answer.send(event.raw):
            self.slow = True

    def finish(self) -> None:
        self._answer.finish_stream(done_mark=False)
