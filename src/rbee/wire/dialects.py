"""Streamed answers of the passed dialects put together, for clients that asked for one object."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from rbee.wire.unreadable import UNREADABLE


class PassAssembly(Protocol):
    def add(self, data: bytes) -> None:
        """One event's data, in order. Raises what `wire.unreadable` names."""

    def result(self) -> dict[str, Any]:
        """The whole answer."""


class _Event(msgspec.Struct, frozen=True):
    """What we read of an event of `/v1/responses` or `/v1/messages`."""

    type: str = ""
    index: int = 0
    response: dict[str, Any] | None = None
    message: dict[str, Any] = {}
    content_block: dict[str, Any] = {}
    delta: Any = None
    usage: dict[str, Any] | None = None


class _NativeEvent(msgspec.Struct, frozen=True):
    content: str = ""
    tokens: list[Any] | None = None
    completion_probabilities: list[Any] | None = None


_event = msgspec.json.Decoder(_Event)
_native = msgspec.json.Decoder(_NativeEvent)


class ResponseAssembly:
    """`/v1/responses`: its last event holds all of it."""

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}

    def add(self, data: bytes) -> None:
        self._response = _event.decode(data).response or self._response

    def result(self) -> dict[str, Any]:
        made_at = self._response.get("created_at")
        return {"completed_at": made_at, **self._response}


class MessageAssembly:
    """`/v1/messages`: a head, blocks in pieces, and a tail."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, str] = {}
        self._usage: dict[str, Any] = {}

    def add(self, data: bytes) -> None:
        said = _event.decode(data)
        delta = said.delta if isinstance(said.delta, dict) else {}
        match said.type:
            case "message_start":
                self._message = dict(said.message)
                told = self._message.get("usage")
                self._usage.update(told if isinstance(told, dict) else {})
            case "content_block_start":
                self._blocks[said.index] = dict(said.content_block)
            case "content_block_delta":
                self._grow(said.index, delta)
            case "message_delta":
                self._message.update(delta)
                self._usage.update(said.usage or {})

    def result(self) -> dict[str, Any]:
        for index, text in self._inputs.items():
            self._blocks[index]["input"] = _parsed(text)
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        return {**self._message, "content": blocks, "usage": self._usage}

    def _grow(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks.setdefault(index, {})
        for name, piece in delta.items():
            if name == "partial_json":
                self._inputs[index] = self._inputs.get(index, "") + str(piece)
            elif name != "type" and isinstance(piece, str):
                block[name] = str(block.get(name) or "") + piece


class NativeAssembly:
    """`/completion` and `/infill`: text in pieces, everything else in the last event."""

    def __init__(self) -> None:
        self._last = b"{}"
        self._text: list[str] = []
        self._lists: dict[str, list[Any]] = {}

    def add(self, data: bytes) -> None:
        said = _native.decode(data)
        self._text.append(said.content)
        for name in ("tokens", "completion_probabilities"):
            self._lists.setdefault(name, []).extend(getattr(said, name) or ())
        self._last = data

    def result(self) -> dict[str, Any]:
        whole = msgspec.json.decode(self._last)
        whole |= {name: found for name, found in self._lists.items() if found or name in whole}
        whole["content"] = "".join(self._text)
        settings = whole.get("generation_settings")
        if isinstance(settings, dict):
            whole["generation_settings"] = {**settings, "stream": False}
        return dict(whole)


def _parsed(text: str) -> Any:
    """The input of a tool; what a model wrote need not be JSON."""
    try:
        return msgspec.json.decode(text or "{}")
    except UNREADABLE:
        return text
