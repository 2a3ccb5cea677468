"""What a client has been given of a chat or completions answer: where a splice takes over.

It is fed with every chunk that goes out, and can be made again from the `data:` payloads of a
journal. Text is kept in pieces and joined only when a splice needs it: a fault is rare, a token is
not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from rbee.wire.llama_server import CallDelta, Choice, Chunk, decode_chunk


class Conditions(msgspec.Struct, frozen=True):
    """What an attempt ran under, as far as it decides whether another one gives the same text."""

    digest: str
    build: str
    device: str
    settings: str
    """The hive's fingerprint of everything else: context, slots, batches, flags of the engine."""
    cached_tokens: int = 0
    """Prompt tokens that were taken from the engine's cache instead of being computed."""


class Head(msgspec.Struct, frozen=True):
    """What the chunks of one answer have in common; the first attempt's stay."""

    id: str | None = None
    created: int | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    object: str | None = None


_head = msgspec.json.Decoder(Head)


@dataclass(slots=True)
class ToolCall:
    """A tool call as far as it came."""

    id: str = ""
    name: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Said:
    """One choice as far as it came."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: dict[int, ToolCall] = field(default_factory=dict)
    tokens: int = 0
    """Pieces of it that went out: the engine makes one of each token, nearly always."""
    logprobs: int = 0
    """Tokens whose probabilities were given."""
    role: bool = False
    finish: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.content)


class Transcript:
    """What went out, by choice. One for each request, whatever number of attempts it takes."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.choices: dict[int, Said] = {}
        self.finishes: list[int] = []
        """Choices that have their finish, in its order."""
        self.usages = 0
        """Chunks with nothing but the usage that went out."""
        self.prompt_tokens = 0
        """Of the first attempt; 0: the engine has not said it."""
        self.conditions: Conditions | None = None
        """Of the first attempt; None: not known, as after a restart of the queen."""
        self.continued = False
        """An attempt went on from text: what stands here is no engine's answer to the request."""

    @classmethod
    def of(cls, payloads: Iterable[bytes]) -> Transcript:
        """Made again from the `data:` payloads that a client was sent."""
        found = cls()
        for data in payloads:
            found.feed(data)
        return found

    @property
    def begun(self) -> bool:
        return self.head is not None

    @property
    def tokens(self) -> int:
        """Of all choices."""
        return sum(said.tokens for said in self.choices.values())

    @property
    def finished(self) -> int:
        """How many choices have their finish."""
        return len(self.finishes)

    @property
    def text_only(self) -> bool:
        """Whether nothing but text of one choice went out."""
        return set(self.choices) <= {0} and not any(
            said.reasoning or said.calls for said in self.choices.values()
        )

    def feed(self, data: bytes) -> None:
        """One payload that was sent; `[DONE]` and errors are passed over."""
        if data != b"[DONE]":
            self.take(decode_chunk(data), data)

    def take(self, chunk: Chunk, data: bytes) -> None:
        """One chunk that goes out now."""
        if chunk.error is not None:
            return
        if self.head is None:
            self.head = _head.decode(data)
        if not chunk.choices:
            self.usages += chunk.usage is not None
        for choice in chunk.choices:
            self._take(choice)

    def _take(self, choice: Choice) -> None:
        said = self.choices.get(choice.index)
        if said is None:
            said = self.choices[choice.index] = Said()
        if choice.text:
            said.content.append(choice.text)
            said.tokens += 1
        delta = choice.delta
        if delta is not None:
            if delta.content:
                said.content.append(delta.content)
                said.tokens += 1
            if reasoning := delta.reasoning_content or delta.reasoning:
                said.reasoning.append(reasoning)
                said.tokens += 1
            if delta.tool_calls:
                said.tokens += 1
                for at, call in enumerate(delta.tool_calls):
                    _take_call(said, at, call)
            if delta.role is not None:
                said.role = True
        if choice.logprobs is not None:
            said.logprobs += len(choice.logprobs.content or ())
        if choice.finish_reason is not None:
            said.finish = choice.finish_reason
            self.finishes.append(choice.index)


def _take_call(said: Said, at: int, delta: CallDelta) -> None:
    call = said.calls.setdefault(at if delta.index is None else delta.index, ToolCall())
    call.id = call.id or delta.id or ""
    if delta.function is not None:
        if delta.function.name:
            call.name.append(delta.function.name)
        if delta.function.arguments:
            call.arguments.append(delta.function.arguments)
