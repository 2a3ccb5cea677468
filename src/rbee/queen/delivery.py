"""What a client gets of one chat or completions answer, over all the attempts that it takes.

A stream goes out as it comes; for a client that asked for one object, an assembly is the client.
Either way the transcript knows what was given, and a splice starts from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from rbee.queen.answer import Answer
from rbee.wire import sse
from rbee.wire.assembly import Assembly
from rbee.wire.llama_server import Chunk
from rbee.wire.problem import encode
from rbee.wire.resumption import usage_chunk
from rbee.wire.transcript import Transcript

Facts = Callable[[], Mapping[str, Any]]
"""What the `rbee` object of the finish chunk says."""


class Delivery:
    """Chunks in, a client's answer out."""

    def __init__(
        self,
        answer: Answer,
        transcript: Transcript,
        *,
        chat: bool,
        choices: int,
        stream: bool,
        wants_usage: bool,
        facts: Facts | None,
    ) -> None:
        self.answer = answer
        self.transcript = transcript
        self.choices = choices
        self.complete = transcript.finished >= choices
        self._wants_usage = wants_usage or not stream
        self._usages = transcript.usages
        self._facts = facts
        self._whole = None if stream else Assembly(chat=chat)

    @property
    def partial(self) -> str | None:
        """The text so far, where the client holds none of it."""
        said = self.transcript.choices.get(0)
        return said.text if self._whole is not None and said is not None else None

    def wants(self, chunk: Chunk) -> bool:
        """A usage chunk is for those who asked for it."""
        return bool(chunk.choices) or (chunk.usage is not None and self._wants_usage)

    def put(self, chunk: Chunk, raw: bytes, data: bytes) -> bool:
        """Give the client a chunk. False: it is slow, pause until it has read."""
        self.transcript.take(chunk, data)
        self._usages += chunk.usage is not None
        if chunk.finished:
            self.complete = self.transcript.finished >= self.choices
            if self.complete and self._facts is not None and self._whole is None:
                value = msgspec.json.decode(data)
                value["rbee"] = self._facts()
                raw = sse.encode(encode(value))
        if self._whole is not None:
            self._whole.add(data)
            return True
        return self.answer.send(raw)

    def finish(self) -> None:
        """The answer is complete."""
        if self._wants_usage and self.transcript.prompt_tokens:
            self._give_missing_usage()
        if self._whole is None:
            self.answer.finish_stream(done_mark=True)
            return
        result = self._whole.result()
        if self._facts is not None:
            result["rbee"] = self._facts()
        self.answer.whole(200, encode(result))

    def _give_missing_usage(self) -> None:
        """An engine died between a finish and its usage; ours sends one for each choice."""
        missing = self.choices - self._usages
        for index in self.transcript.finishes[-missing:] if missing > 0 else ():
            data = usage_chunk(self.transcript, self.transcript.choices[index].tokens)
            if self._whole is not None:
                self._whole.add(data)
            else:
                self.answer.send(sse.encode(data))
