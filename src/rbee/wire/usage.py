"""Tokens as the engine counted them, in the words of each dialect."""

from __future__ import annotations

import msgspec

from rbee.wire.unreadable import UNREADABLE


class _Usage(msgspec.Struct):
    """OpenAI counts prompt and completion, Responses and Anthropic input and output."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class _Inside(msgspec.Struct):
    usage: _Usage | None = None


class _Told(msgspec.Struct):
    usage: _Usage | None = None
    response: _Inside | None = None
    """Where events of Responses put theirs."""
    message: _Inside | None = None
    """Where Anthropic's first event does."""
    tokens_evaluated: int = 0
    """llama.cpp's own routes count so, on top."""
    tokens_predicted: int = 0


_told = msgspec.json.Decoder(_Told)


def tokens_of(data: bytes) -> tuple[int, int]:
    """Prompt and answer tokens that an answer, or one event of it, tells of; 0: not told.

    The rest of a large answer (embeddings) is passed over, not built."""
    if b"usage" not in data and b"tokens_predicted" not in data:
        return 0, 0
    try:
        told = _told.decode(data)
    except UNREADABLE:
        return 0, 0
    for holder in (told, told.response, told.message):
        usage = holder.usage if holder is not None else None
        if usage is not None:
            return (
                max(usage.prompt_tokens, usage.input_tokens, 0),
                max(usage.completion_tokens, usage.output_tokens, 0),
            )
    return max(told.tokens_evaluated, 0), max(told.tokens_predicted, 0)
