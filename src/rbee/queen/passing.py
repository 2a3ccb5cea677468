"""Answers in the dialects that are passed on as they are: responses, messages, native.

The engine is asked for a stream whatever the client asked for, so that a hang-up is seen within a
batch. Nothing goes out before the first word: until then another worker can take the request. After
it a fault is told in the dialect's own error event.
"""

from __future__ import annotations

import msgspec

from rbee.errors import RbeeError
from rbee.queen.answer import Answer, Dialect
from rbee.wire import sse
from rbee.wire.dialects import MessageAssembly, NativeAssembly, PassAssembly, ResponseAssembly
from rbee.wire.llama_server import PromptProgress, stream_error
from rbee.wire.problem import encode
from rbee.wire.unreadable import UNREADABLE

_FINISH_MARKS = {
    Dialect.RESPONSES: (b"response.completed", b"response.incomplete", b"response.failed"),
    Dialect.ANTHROPIC: (b"message_stop",),
    Dialect.NATIVE: (b'"stop":true', b'"stop": true'),
    Dialect.OPENAI: (b'"finish_reason":"',),
}
_PRELUDE = frozenset({b"response.created", b"response.in_progress", b"message_start", b"ping"})
"""Events that an engine sends before it has read the prompt."""


class _Progress(msgspec.Struct, frozen=True):
    prompt_progress: PromptProgress | None = None


_progress = msgspec.json.Decoder(_Progress)


class PassRelay:
    """One attempt, forwarded as it is or put together; comments and progress are left out."""

    def __init__(
        self, answer: Answer, *, model: str, path: str, stream: bool, wants_progress: bool
    ) -> None:
        self.tokens = 0
        self.prompt: PromptProgress | None = None
        self.problem: RbeeError | None = None
        self.complete = False
        self.over = self.replaying = False
        self.slow = False
        self._answer = answer
        self._model = model
        self._path = path
        self._wants_progress = wants_progress
        self._announced = False
        self._held: list[bytes] = []
        self._whole = None if stream else _assembly(answer.dialect)

    def take(self, event: sse.Event) -> None:
        if event.data is None or self.problem is not None or self.complete:
            return
        if self._answer.dialect is not Dialect.OPENAI and event.data == b"[DONE]":
            return
        try:
            self._take(event, event.data)
        except UNREADABLE:
            self.problem = RbeeError(
                "WORKER_LOST",
                model=self._model,
                tokens=self.tokens,
                problem="it sent an event that cannot be read",
            )

    def finish(self) -> None:
        if self._whole is not None:
            self._answer.whole(200, encode(self._whole.result()))
        else:
            self._answer.finish_stream(done_mark=False)

    def _take(self, event: sse.Event, data: bytes) -> None:
        if event.name == b"error" or data.startswith(b'{"error"'):
            said = msgspec.json.decode(data)
            error = said.get("error", said) if isinstance(said, dict) else said
            self.problem = stream_error(error, model=self._model, path=self._path)
            return
        if b'"prompt_progress"' in data:
            self.prompt = _progress.decode(data).prompt_progress
            if not self._wants_progress:
                self._announce(event, data)
                return
        if self._answer.place is not None:
            self._answer.place.count(data)
        prelude = event.name in _PRELUDE
        self.tokens += not prelude
        named = event.name or data
        self.complete = any(mark in named for mark in _FINISH_MARKS[self._answer.dialect])
        if self._whole is not None:
            self._whole.add(data)
        elif prelude and not self.tokens:
            self._held.append(event.raw)
        else:
            raw = b"".join([*self._held, event.raw]) if self._held else event.raw
            self._held.clear()
            if not self._answer.send(raw):
                self.slow = True

    def _announce(self, event: sse.Event, data: bytes) -> None:
        """Progress that rides on an event of the dialect: that one goes out once, without it."""
        if event.name and not self._announced and self._whole is None:
            self._announced = True
            value = msgspec.json.decode(data)
            value.pop("prompt_progress", None)
            self._held.append(sse.encode(encode(value), name=event.name.decode()))


def _assembly(dialect: Dialect) -> PassAssembly:
    match dialect:
        case Dialect.RESPONSES:
            return ResponseAssembly()
        case Dialect.ANTHROPIC:
            return MessageAssembly()
        case _:
            return NativeAssembly()
