"""Jobs: how one is asked for, kept in the journal, shown, and followed from any of its events."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from rbee.errors import RbeeError
from rbee.wire.control import Problem
from rbee.wire.sse import Splitter
from rbee.wire.transcript import Conditions
from rbee.wire.unreadable import UNREADABLE

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
ENDPOINTS = (CHAT, COMPLETIONS)
"""What a job may ask: answers that can be followed, and taken up where they broke off."""

CANCEL = "cancel"
CONTINUE = "continue"

KEPT_HEADERS = (
    "x-request-timeout",
    "x-rbee-exact",
    "x-rbee-priority",
    "x-rbee-quiet",
    "x-request-id",
)
"""Headers of the asking request that its answer depends on, and its client's name for it."""

_MARK = b": mark "
_MOST_KEY = 255
_JOB_ID = re.compile(r"job_[0-9a-f]{32}", re.ASCII)
_EVENT_ID = re.compile(r"(\d{1,9})-([0-9a-f]{8})", re.ASCII)


class JobAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/jobs`."""

    request: Any
    """An object, or the bytes of one that is too large to be read."""
    endpoint: str = CHAT
    on_disconnect: Literal["continue", "cancel"] = "continue"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is made of; it never changes. The journal keeps it before anything runs."""

    id: str
    key_id: str
    """Whose it is; empty: nobody's in particular."""
    endpoint: str
    model: str
    request: msgspec.Raw
    """The body, with its seed."""
    headers: tuple[tuple[str, str], ...] = ()
    on_disconnect: str = CONTINUE
    idempotency_key: str = ""
    body_hash: str = ""
    made_at: float = 0.0
    deadline_at: float = 0.0
    """Wall time; 0: none. A restart does not extend it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended."""

    status: str
    ended_at: float
    problem: Problem | None = None
    attempts: tuple[dict[str, Any], ...] = ()
    splices: tuple[dict[str, Any], ...] = ()


class Mark(msgspec.Struct, frozen=True):
    """What else must be known to take up an answer. It stands between the events in the journal, as
    a comment, wherever it has changed."""

    conditions: Conditions | None = None
    prompt_tokens: int = 0
    continued: bool = False
    attempts: tuple[dict[str, Any], ...] = ()
    splices: tuple[dict[str, Any], ...] = ()

    def written(self) -> bytes:
        return _MARK + msgspec.json.encode(self) + b"\n\n"

    @classmethod
    def read(cls, raw: bytes) -> Mark | None:
        """None: that is no mark, or one of another rbee."""
        if not raw.startswith(_MARK):
            return None
        try:
            return msgspec.json.decode(raw[len(_MARK) :], type=cls)
        except UNREADABLE:
            return None


class _Calls(msgspec.Struct, frozen=True):
    arguments: str | None = None


class _Call(msgspec.Struct, frozen=True):
    function: _Calls | None = None


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[_Call, ...] | None = None


class _Choice(msgspec.Struct, frozen=True):
    text: str | None = None
    delta: _Delta | None = None


class _Said(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: msgspec.Raw = msgspec.Raw(b"null")


_said = msgspec.json.Decoder(_Said)


def parse_job_ask(value: Mapping[str, Any]) -> JobAsk:
    """Raises INVALID_REQUEST naming the field."""
    try:
        ask = msgspec.convert(value, JobAsk)
    except msgspec.ValidationError as exc:
        raise RbeeError("INVALID_REQUEST", problem=str(exc)) from exc
    if not isinstance(ask.request, dict | msgspec.Raw):
        raise RbeeError("INVALID_REQUEST", problem="request must be an object", param="request")
    if ask.endpoint not in ENDPOINTS:
        problem = f"endpoint must be one of {', '.join(ENDPOINTS)}"
        raise RbeeError("INVALID_REQUEST", problem=problem, param="endpoint")
    return ask


def checked_key(header: str) -> str:
    """An Idempotency-Key. Raises INVALID_REQUEST for one that is empty, long, or not plain."""
    if not 0 < len(header) <= _MOST_KEY or not header.isascii() or not header.isprintable():
        problem = f"Idempotency-Key must have 1 to {_MOST_KEY} printable ASCII letters"
        raise RbeeError("INVALID_REQUEST", problem=problem, param="Idempotency-Key")
    return header


def job_id_of(text: str) -> str:
    """The id in an address. Raises JOB_NOT_FOUND for what is no id."""
    if _JOB_ID.fullmatch(text) is None:
        raise RbeeError("JOB_NOT_FOUND", job=text[:60])
    return text


def event_id(number: int, crc: int) -> str:
    """Of the event `number` (1 is the first), after which the text so far has that crc32."""
    return f"{number}-{crc:08x}"


def parse_event_id(text: str) -> tuple[int, int]:
    """Number and crc32. Raises INVALID_REQUEST."""
    found = _EVENT_ID.fullmatch(text.strip())
    if found is None:
        problem = "Last-Event-ID must be an id that this stream sent, such as 12-0a1b2c3d"
        raise RbeeError("INVALID_REQUEST", problem=problem, param="Last-Event-ID")
    return int(found.group(1)), int(found.group(2), 16)


def crc_after(crc: int, data: bytes) -> int:
    """The crc32 of the text so far once this chunk is part of it: all content, reasoning and
    arguments of tools, in the order in which they came, as UTF-8."""
    try:
        said = _said.decode(data)
    except UNREADABLE:
        return crc
    for choice in said.choices:
        for piece in _pieces(choice):
            crc = zlib.crc32(piece.encode("utf-8", "surrogatepass"), crc)
    return crc


def only_usage(data: bytes) -> bool:
    """Whether the chunk says nothing but the usage, which not everybody asks for."""
    if b'"usage"' not in data:
        return False
    try:
        said = _said.decode(data)
    except UNREADABLE:
        return False
    return not said.choices and bytes(said.usage) != b"null"


def payload(raw: bytes) -> bytes:
    """The data of an event."""
    if raw.startswith(b"data: ") and raw.count(b"\n") == 2:
        return raw[6:-2]
    (event,) = Splitter(len(raw)).feed(raw)
    return event.data or b""


def _pieces(choice: _Choice) -> list[str]:
    delta = choice.delta
    if delta is None:
        return [choice.text] if choice.text else []
    found = [text for text in (choice.text, delta.content, delta.reasoning_content) if text]
    for call in delta.tool_calls or ():
        if call.function is not None and call.function.arguments:
            found.append(call.function.arguments)
    return found


def view(
    record: Record,
    *,
    status: str,
    waits: Mapping[str, Any],
    outcome: Outcome | None,
    error: Mapping[str, Any] | None,
    attempts: Sequence[Mapping[str, Any]],
    splices: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """A job as it is listed; `GET /v1/jobs/{id}` adds its answer and the id of its last event."""
    return {
        "job_id": record.id,
        "object": "job",
        "status": status,
        "position": waits.get("position", 0),
        "progress": waits.get("progress"),
        "endpoint": record.endpoint,
        "model": record.model,
        "on_disconnect": record.on_disconnect,
        "created_at": record.made_at,
        "ended_at": outcome.ended_at if outcome is not None else None,
        "attempts": list(attempts),
        "splices": list(splices),
        "error": error,
    }
