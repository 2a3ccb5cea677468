"""Tokens as the engine counted them, in the words of each dialect."""

from __future__ import annotations

from typing import Any

import msgspec

_PROMPT = ("prompt_tokens", "input_tokens")
_ANSWER = ("completion_tokens", "output_tokens")
_INSIDE = ("response", "message")
"""Where Responses and Messages put theirs."""


def tokens_of(data: bytes) -> tuple[int, int]:
    """Prompt and answer tokens that an answer, or one event of it, tells of; 0: not told."""
    if b"usage" not in data:
        return 0, 0
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return 0, 0
    if not isinstance(value, dict):
        return 0, 0
    inside = (value.get(name) for name in _INSIDE)
    for holder in (value, *inside):
        usage = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(usage, dict):
            return _first(usage, _PROMPT), _first(usage, _ANSWER)
    return 0, 0


def _first(usage: dict[str, Any], names: tuple[str, ...]) -> int:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0
