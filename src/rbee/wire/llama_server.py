"""What llama.cpp's HTTP server says: stream events, errors, health (llama.cpp b11549)."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from rbee.errors import RbeeError
from rbee.wire.unreadable import UNREADABLE

_MOST_TOKENS = 1 << 40
_LOOKED_THROUGH_BYTES = 1 << 20
_Tokens = Annotated[int, msgspec.Meta(ge=-_MOST_TOKENS, le=_MOST_TOKENS)]
"""Numbers that can be reckoned with."""


class PromptProgress(msgspec.Struct, frozen=True):
    total: _Tokens = 0
    cache: _Tokens = 0
    processed: _Tokens = 0
    time_ms: float = 0.0


class FunctionDelta(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class CallDelta(msgspec.Struct, frozen=True):
    """A piece of a tool call; id and name come once, arguments in pieces."""

    index: int | None = None
    id: str | None = None
    function: FunctionDelta | None = None


class Delta(msgspec.Struct, frozen=True):
    """A piece of a chat message."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    """The same, in the words of other engines."""
    tool_calls: tuple[CallDelta, ...] | None = None


class Logprobs(msgspec.Struct, frozen=True):
    content: tuple[msgspec.Raw, ...] | None = None
    """One entry a token."""


class Choice(msgspec.Struct, frozen=True):
    """A chat choice has a delta, a completion choice has text."""

    index: int = 0
    finish_reason: str | None = None
    text: str | None = None
    delta: Delta | None = None
    logprobs: Logprobs | None = None


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: _Tokens = 0
    completion_tokens: _Tokens = 0


class Chunk(msgspec.Struct, frozen=True):
    """The part of a stream event that we act on."""

    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    prompt_progress: PromptProgress | None = None
    error: Any = None

    @property
    def finished(self) -> bool:
        """Whether a choice ends here."""
        for choice in self.choices:  # noqa: SIM110 (a generator costs every chunk more than this)
            if choice.finish_reason is not None:
                return True
        return False


_chunk = msgspec.json.Decoder(Chunk)


def decode_chunk(data: bytes) -> Chunk:
    """One stream event. Raises `msgspec.DecodeError` if it is no such event."""
    return _chunk.decode(data)


_BLAMES_THE_REQUEST = re.compile(
    r"failed to parse (messages|tools|tool|input|grammar|json)|input is not supported"
    r"|unsupported|unknown (?!error)|invalid (?!input batch)|json\.exception|expected '\w+' to be"
    r"|is too large to process|_M_range_check|must be|is required",
    re.IGNORECASE,
)
"""What the engine says with status 500 when it could not read the request: its parsers throw plain
runtime errors (llama.cpp b11549, common/chat.cpp and tools/server/server-common.cpp), and what is
too long for an embedding or is no token id ends in one too."""


def refusal(status: int, body: bytes, *, model: str, path: str) -> RbeeError:
    """The engine's error answer as ours: 4xx is the request's fault, 5xx the worker's, unless its
    words blame the request."""
    error = _error_object(body)
    says = str(error.get("message") or body[:200].decode(errors="replace") or f"HTTP {status}")
    if error.get("type") == "exceed_context_size_error":
        prompt, context = _count(error.get("n_prompt_tokens")), _count(error.get("n_ctx"))
        return RbeeError(
            "CONTEXT_OVERFLOW",
            model=model,
            prompt_tokens=prompt,
            context_tokens=context,
            needed_tokens=_round_up(prompt + 256, 1024),
        )
    if status == 501 or error.get("type") in ("not_supported_error", "not_found_error"):
        return RbeeError("ENDPOINT_UNSUPPORTED", model=model, path=path, engine_says=says)
    of_request = 400 <= status < 500 and status not in (401, 403, 408, 429)
    if of_request or (status == 500 and _BLAMES_THE_REQUEST.search(says)):
        return RbeeError("ENGINE_REFUSED", model=model, engine_says=says, engine_status=status)
    return RbeeError(
        "WORKER_LOST", model=model, tokens=0, problem=f"its engine answered {status}: {says}"
    )


def stream_error(said: object, *, model: str, path: str) -> RbeeError:
    """An error event in the middle of an engine's stream."""
    error = _error_of(said)
    code = error.get("code")
    status = code if isinstance(code, int) else 500
    return refusal(status, msgspec.json.encode({"error": error}), model=model, path=path)


def is_json(body: bytes) -> bool:
    """Whether an answer can be read; a large one (embeddings) is not looked through."""
    if len(body) > _LOOKED_THROUGH_BYTES:
        return True
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except UNREADABLE:
        return False
    return True


def without_path(props: bytes) -> bytes:
    """The answer of `/props` without the path of the model's file."""
    try:
        value = msgspec.json.decode(props)
    except UNREADABLE:
        return b"{}"
    if isinstance(value, dict):
        value.pop("model_path", None)
    return msgspec.json.encode(value)


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        return {}
    return _error_of(value.get("error") if isinstance(value, dict) else None)


def _error_of(said: object) -> dict[str, Any]:
    if isinstance(said, str):
        return {"message": said}
    return said if isinstance(said, dict) else {}


def _count(said: object) -> int:
    """A number of tokens; 0 where none is said."""
    return said if type(said) is int and 0 <= said <= _MOST_TOKENS else 0


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
