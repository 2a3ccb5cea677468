"""What of a request decides how its answer can be taken up by another attempt, and what that
attempt is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rbee.wire.transcript import Head, Transcript

_LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")


@dataclass(frozen=True, slots=True)
class Shape:
    """The facts of a chat or completions request that a splice depends on."""

    chat: bool
    choices: int
    plain: bool
    """Text of one choice that no tool, grammar or schema forms: it can be gone on from."""
    sampled: bool
    """Not greedy: what comes next is drawn, so a continuation is another draw."""
    stops: tuple[str, ...] = ()
    max_tokens: int | None = None
    cache_asked: bool | None = None
    """What the client itself says of the engine's prompt cache."""


def shape_of(body: Mapping[str, Any], *, chat: bool) -> Shape:
    """Read from the upstream body: our sampler defaults are in it. A prompt too large to be read
    is no plain one: it is only replayed."""
    count = body.get("n")
    choices = count if isinstance(count, int) and count > 0 else 1
    stop = body.get("stop")
    stops = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, list) else ()
    limits = [body[name] for name in _LIMITS if isinstance(body.get(name), int)]
    cache = body.get("cache_prompt")
    return Shape(
        chat=chat,
        choices=choices,
        plain=choices == 1
        and not _is_formed(body)
        and not isinstance(stop, msgspec.Raw)
        and _can_be_gone_on_from(body, chat=chat),
        sampled=not _is_greedy(body),
        stops=tuple(one for one in stops if isinstance(one, str) and one),
        max_tokens=min((one for one in limits if one >= 0), default=None),
        cache_asked=cache if isinstance(cache, bool) else None,
    )


def replayed(body: Mapping[str, Any], *, cold: bool) -> bytes:
    """The request from its start. Cold: without what the engine's cache holds, so that another
    worker computes the same (docs/measured.md, Replay)."""
    return msgspec.json.encode({**body, "cache_prompt": False} if cold else body)


def continued(body: Mapping[str, Any], transcript: Transcript, *, chat: bool) -> bytes:
    """The request to go on from the delivered text, with as many tokens less."""
    text = transcript.choices[0].text
    asked = dict(body)
    if chat:
        messages = list(asked["messages"])
        before = messages.pop()["content"] if messages[-1].get("role") == "assistant" else ""
        asked["messages"] = [*messages, {"role": "assistant", "content": before + text}]
    else:
        asked["prompt"] += text
    for name in _LIMITS:
        if isinstance(asked.get(name), int) and asked[name] >= 0:
            asked[name] = max(1, asked[name] - transcript.tokens)
    return msgspec.json.encode(asked)


def finish_chunk(head: Head | None, reason: str, *, chat: bool) -> bytes:
    """The finish that no engine is left to send."""
    choice: dict[str, Any] = {"finish_reason": reason, "index": 0}
    nothing: dict[str, Any] = {"delta": {}} if chat else {"text": "", "logprobs": None}
    choice.update(nothing)
    return msgspec.json.encode({"choices": [choice], **_named(head)})


def usage_chunk(transcript: Transcript, tokens: int) -> bytes:
    """The usage that no engine is left to send, as it was counted here."""
    prompt = transcript.prompt_tokens
    usage = {
        "completion_tokens": tokens,
        "prompt_tokens": prompt,
        "total_tokens": prompt + tokens,
    }
    return msgspec.json.encode({"choices": [], **_named(transcript.head), "usage": usage})


def _named(head: Head | None) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(head or Head())
    return {name: value for name, value in built.items() if value is not None}


def _is_formed(body: Mapping[str, Any]) -> bool:
    """Whether something else than the model decides what the text may be."""
    form = body.get("response_format")
    kind = form.get("type") if isinstance(form, Mapping) else None
    tools = body.get("tools") or body.get("functions")
    return bool(
        (tools and body.get("tool_choice") != "none")
        or body.get("grammar")
        or body.get("json_schema")
        or isinstance(form, msgspec.Raw)
        or (form and kind not in (None, "text"))
    )


def _can_be_gone_on_from(body: Mapping[str, Any], *, chat: bool) -> bool:
    if not chat:
        return isinstance(body.get("prompt"), str) and not body.get("echo")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], Mapping):
        return False
    last = messages[-1]
    if last.get("role") == "assistant" and not isinstance(last.get("content"), str):
        return False
    return body.get("add_generation_prompt") is not False


def _is_greedy(body: Mapping[str, Any]) -> bool:
    temperature = body.get("temperature")
    cold = isinstance(temperature, int | float) and temperature <= 0
    return cold or body.get("top_k") == 1
