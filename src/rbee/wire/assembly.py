"""A streamed answer put together as one object, for clients that did not ask for a stream.

Upstream is always streamed; this gives back what the engine would have said in one piece.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Assembly:
    """Takes the chunks of one chat or completions answer in order."""

    def __init__(self, *, chat: bool) -> None:
        self._chat = chat
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._tail: dict[str, Any] = {}

    def add(self, data: bytes) -> None:
        """One chunk that carries choices or usage."""
        chunk = msgspec.json.decode(data)
        if not self._head:
            self._head = {
                name: chunk[name]
                for name in ("id", "created", "model", "system_fingerprint")
                if name in chunk
            }
        for name in ("usage", "timings"):
            if chunk.get(name) is not None:
                self._tail[name] = chunk[name]
        for choice in chunk.get("choices") or ():
            self._add_choice(choice)

    def result(self) -> dict[str, Any]:
        """The whole answer."""
        return {
            "choices": [self._choices[index] for index in sorted(self._choices)],
            "object": "chat.completion" if self._chat else "text_completion",
            **self._head,
            **self._tail,
        }

    def _add_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index", 0)
        whole = self._choices.get(index)
        if whole is None:
            whole = {"index": index, "finish_reason": None, "logprobs": None}
            if self._chat:
                whole["message"] = {"role": "assistant", "content": None}
            else:
                whole["text"] = ""
            self._choices[index] = whole
        if choice.get("finish_reason") is not None:
            whole["finish_reason"] = choice["finish_reason"]
        if choice.get("logprobs"):
            whole["logprobs"] = _joined(whole["logprobs"], choice["logprobs"])
        if self._chat:
            _merge_message(whole["message"], choice.get("delta") or {})
        else:
            whole["text"] += choice.get("text") or ""


def _merge_message(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            _merge_calls(message.setdefault("tool_calls", []), value or [])
        elif name == "role":
            message["role"] = value or message["role"]
        elif isinstance(value, str):
            before = message.get(name)
            message[name] = (before if isinstance(before, str) else "") + value
        elif value is not None:
            message[name] = value


def _merge_calls(calls: list[dict[str, Any]], deltas: list[dict[str, Any]]) -> None:
    """Tool calls by their `index`; names and ids come once, arguments in pieces."""
    for delta in deltas:
        index = delta.get("index")
        if index is None or not 0 <= index <= len(calls):
            index = len(calls)
        if index == len(calls):
            calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[index]
        if delta.get("id"):
            call["id"] = delta["id"]
        if delta.get("type"):
            call["type"] = delta["type"]
        function = delta.get("function") or {}
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""


def _joined(whole: dict[str, Any] | None, part: dict[str, Any]) -> dict[str, Any]:
    """Logprobs of both dialects are objects of lists, one entry a token."""
    if whole is None:
        return {name: list(v) if isinstance(v, list) else v for name, v in part.items()}
    for name, value in part.items():
        if isinstance(value, list) and isinstance(whole.get(name), list):
            whole[name].extend(value)
        else:
            whole[name] = value
    return whole
