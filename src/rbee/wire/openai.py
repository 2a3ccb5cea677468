"""Requests in OpenAI's words: what we act on is checked, everything else passes untouched.

We are never stricter than the engine: unknown fields, nulls and content arrays go through
(docs/measured.md, Clients). All violations of what we act on are told at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rbee.errors import RbeeError
from rbee.wire.large_body import MOST_VALUES, counted, not_json, too_deep
from rbee.wire.unreadable import UNREADABLE

DEADLINE_CAP_S = 3600.0

_TEXTS = re.compile(rb'"[^"]*"')
_SMALL_BYTES = 64 << 10

_WINDOWS = ("repeat_last_n", "dry_penalty_last_n")
_MOST_WINDOW = 1 << 20
"""The engine sets aside 4 bytes for each token that a penalty may look back on, as many as it is
told: 2^31 - 1 of them took it 8 GiB and 24 s. More than a context holds mean the same."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A parsed request: the typed part, and the whole object as it came."""

    model: str
    stream: bool
    wants_usage: bool
    seed: int | None
    timeout_s: float | None
    body: dict[str, Any]
    """Of a large one the large members are `msgspec.Raw`."""


def parse_object(body: bytes, *, nesting: int) -> dict[str, Any]:
    """The JSON object in a body. Raises INVALID_REQUEST saying what is wrong and where."""
    if (problem := _too_many(body)) is not None:
        raise RbeeError("INVALID_REQUEST", problem=problem)
    try:
        value = msgspec.json.decode(body)
    except RecursionError as exc:
        raise too_deep(nesting) from exc
    except UNREADABLE as exc:
        raise not_json(exc) from exc
    if not isinstance(value, dict):
        raise RbeeError("INVALID_REQUEST", problem="The body must be a JSON object")
    # A look at each value is quick, but a look at the brackets of a small body is quicker.
    may_be = len(body) > _SMALL_BYTES or body.count(b"[") + body.count(b"{") > nesting
    if may_be and _deeper_than(value, nesting):
        raise too_deep(nesting)
    return value


def parse_ask(
    body: bytes, *, nesting: int, timeout_header: str | None = None, only_model: str | None = None
) -> Ask:
    """A request for a model. Raises INVALID_REQUEST naming every field that is wrong."""
    value = parse_object(body, nesting=nesting)
    return ask_of(value, timeout_header=timeout_header, only_model=only_model)


def ask_of(
    value: dict[str, Any], *, timeout_header: str | None = None, only_model: str | None = None
) -> Ask:
    """A request for a model, read already. Raises INVALID_REQUEST naming every field that is wrong.

    `only_model` is used where the request names none and just one model could be meant.
    """
    found: list[tuple[str, str]] = []
    model = value.get("model") or only_model
    if model is None:
        found.append(("model", "is missing: GET /v1/models lists what can be asked"))
    elif not isinstance(model, str) or len(model) > 512:
        found.append(("model", "must be a string of at most 512 characters"))
    stream = _typed(value, "stream", bool, "true or false", found)
    seed = _typed(value, "seed", int, "an integer", found)
    options = _typed(value, "stream_options", dict, "an object", found) or {}
    timeout_s = _timeout(value.pop("timeout_s", None), timeout_header, found)
    if found:
        problem = "; ".join(f"{name} {what}" for name, what in found)
        raise RbeeError(
            "INVALID_REQUEST",
            problem=problem,
            param=found[0][0],
            problems=[{"param": name, "problem": what} for name, what in found],
        )
    for name in _WINDOWS:
        if isinstance(value.get(name), int) and value[name] > _MOST_WINDOW:
            value[name] = _MOST_WINDOW
    return Ask(
        model=str(model),
        stream=bool(stream),
        wants_usage=bool(options.get("include_usage")),
        seed=seed,
        timeout_s=timeout_s,
        body=value,
    )


def upstream_body(ask: Ask, *, params: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The body for an engine's chat or completions route.

    Always streamed with progress and usage, so that a hang-up is seen within a batch and a partial
    text exists (docs/measured.md, Hang-ups).
    """
    body = with_params(ask.body, params)
    body["seed"] = seed if ask.seed is None else ask.seed
    body["stream"] = True
    body["return_progress"] = True
    body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return body


def with_params(body: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The request with the model's sampler defaults where it says nothing."""
    merged = dict(body)
    for name, value in params.items():
        if merged.get(name) is None:
            merged[name] = value
    return merged


def _typed(
    value: Mapping[str, Any], name: str, kind: type, words: str, found: list[tuple[str, str]]
) -> Any:
    field = value.get(name)
    if field is None:
        return None
    if not isinstance(field, kind) or (kind is int and isinstance(field, bool)):
        found.append((name, f"must be {words}"))
        return None
    return field


def _timeout(field: object, header: str | None, found: list[tuple[str, str]]) -> float | None:
    name = "timeout_s"
    if field is None and header is not None:
        name = "X-Request-Timeout"
        try:
            field = float(header)
        except ValueError:
            field = header
    if field is None:
        return None
    if isinstance(field, bool) or not isinstance(field, int | float) or not 0 < field < 1e9:
        found.append((name, "must be a number of seconds above 0"))
        return None
    return min(float(field), DEADLINE_CAP_S)


def _deeper_than(value: object, limit: int) -> bool:
    """Whether it is nested deeper. Level by level, so that a long text costs nothing."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            inner
            for one in level
            for inner in (one.values() if type(one) is dict else one)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True


def _too_many(body: bytes) -> str | None:
    """What there is too much of, told before the body is read; what stands inside of texts counts
    only if there is too much with it."""
    if len(body) < _SMALL_BYTES or _counted(body) is None:
        return None
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if unescaped.count(b'"') > 4 * MOST_VALUES:
        return f"The body holds more than {MOST_VALUES:,} values"
    return _counted(_TEXTS.sub(b"", unescaped))


def _counted(text: bytes) -> str | None:
    containers = text.count(b"[") + text.count(b"{")
    return counted(containers, text.count(b":"), text.count(b","))
