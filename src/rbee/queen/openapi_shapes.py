"""What goes in and out of each route, as `/openapi.json` tells it.

Shapes of ours are short: `fields("pid integer", "problem string?", "workers [Worker]")` is an
object that has these, and perhaps more. Bodies of administration are what their handlers parse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rbee.queen.admin import DrainAsk, ServeAsk, ShutdownAsk, StopAsk
from rbee.queen.attached_admin import AttachAsk, DetachAsk
from rbee.queen.keys import RevokeAsk
from rbee.queen.store_admin import ImportAsk, NameAsk, PinAsk, PruneAsk
from rbee.wire.control import Device, ModelView
from rbee.wire.jobs import CHAT, ENDPOINTS
from rbee.wire.keys import KeyAsk
from rbee.wire.stored import Compared, Pruned, Stock

Schema = dict[str, Any]

_PLACE = "#/components/schemas/{name}"
_ANYTHING = ("array", "object", "string", "number", "boolean", "null")


def refer(name: str) -> Schema:
    """The component of that name."""
    return {"$ref": _PLACE.format(name=name)}


def fields(*told: str, optional: tuple[str, ...] = ()) -> Schema:
    """An object: `name type`, `name type?` (or null), `name [type]` (a list of them); a type in
    capitals is a component."""
    pairs = [one.split(" ", 1) for one in (*told, *optional)]
    required = [one.split(" ", 1)[0] for one in told]
    found: Schema = {"type": "object", "properties": {name: _kind(kind) for name, kind in pairs}}
    return {**found, "required": required} if required else found


def _kind(text: str) -> Schema:
    if text.startswith("["):
        return {"type": "array", "items": _kind(text[1:-1])}
    if text.endswith("?"):
        return {"anyOf": [_kind(text[:-1]), {"type": "null"}]}
    if text == "any":
        return {"type": list(_ANYTHING)}
    return refer(text) if text[0].isupper() else {"type": text}


def _request(*own: str) -> Schema:
    """A request for a model: what we act on is checked, the rest is the engine's."""
    found = fields(
        optional=(
            "stream boolean?",
            "seed integer?",
            "timeout_s number?",
            "stream_options object?",
            *own,
        )
    )
    found["properties"]["model"] = {
        "type": ["string", "null"],
        "maxLength": 512,
        "description": "May be left out where just one model could be meant.",
    }
    return found


_ERROR = fields(
    "message string",
    "type string",
    "param string?",
    "code string",
    "retryable boolean",
    "retry_after_s number?",
    "action string",
    "means string",
    "details object",
    "job_id string?",
    "attempts [object]",
)
_JOB = (
    "job_id string",
    "object string",
    "status JobStatus",
    "position integer",
    "progress any",
    "endpoint string",
    "model string",
    "on_disconnect string",
    "created_at number",
    "ended_at number?",
    "attempts [object]",
    "splices [object]",
    "error ErrorBody?",
)
_KEY = (
    "id string",
    "name string",
    "state string",
    "roles [string]",
    "created_at number",
    "expires_at number?",
    "revoked_at number?",
    "rpm integer?",
    "tpm integer?",
    "concurrent integer?",
)
_MODEL = (
    "id string",
    "object string",
    "created integer",
    "owned_by string",
    "context_length integer",
    "max_model_len integer",
    "meta object",
)
_WORKER = (
    "id string",
    "pid integer",
    "port integer",
    "model string",
    "digest string",
    "state string",
    "device string",
    "degraded string",
    "hive string",
    "slots integer",
    "busy integer",
    "restarts integer",
    "mode string",
    "context_tokens integer",
    "engine string",
    "build string",
    "memory_bytes integer",
    "progress any",
    "loaded_in_s number?",
    "tokens_per_s number",
    "unloads_in_s number?",
    "problem string?",
    "problem_message string?",
    "retry_in_s number?",
    "waits_for [string]",
    "health object",
    "attached boolean",
    "address string?",
)
_JOB_ASK: Schema = {
    "type": "object",
    "required": ["request"],
    "properties": {
        "endpoint": {"enum": list(ENDPOINTS), "default": CHAT},
        "request": refer("ChatRequest"),
        "on_disconnect": {"enum": ["continue", "cancel"], "default": "continue"},
    },
    "additionalProperties": False,
}

_OWN: Mapping[str, Schema] = {
    "ErrorBody": _ERROR,
    "Error": fields("error ErrorBody"),
    "AnthropicError": fields("type string", "error ErrorBody"),
    "Event": fields(optional=("data string", "event string", "id string")),
    "Said": fields("status string"),
    "Any": {"type": ["object", "array"]},
    "Answer": {"type": "object"},
    "ChatRequest": _request("messages [object]", "max_tokens integer?"),
    "CompletionRequest": _request("prompt any", "max_tokens integer?"),
    "EmbeddingRequest": _request("input any"),
    "ResponsesRequest": _request("input any", "max_output_tokens integer?"),
    "MessagesRequest": _request("messages [object]", "system any", "max_tokens integer"),
    "RerankRequest": _request("query string", "documents [string]"),
    "InfillRequest": _request("input_prefix string", "input_suffix string", "n_predict integer"),
    "NativeRequest": _request("prompt any", "n_predict integer"),
    "TokenizeRequest": _request("content any"),
    "DetokenizeRequest": _request("tokens [integer]"),
    "TemplateRequest": _request("messages [object]"),
    "JobRequest": _JOB_ASK,
    "JobStatus": {"enum": ["queued", "loading", "running", "done", "failed", "cancelled"]},
    "Job": fields(*_JOB),
    "JobList": fields("object string", "data [Job]"),
    "JobAnswer": fields(*_JOB, "last_event_id string", "result any", "partial any"),
    "ChatCompletion": fields("choices [object]", optional=("rbee object",)),
    "Embeddings": fields("data [object]"),
    "Model": fields(*_MODEL, optional=("rbee object",)),
    "ModelList": fields("object string", "data [Model]", "models [object]"),
    "Worker": fields(*_WORKER),
    "Workers": fields(
        "queen object",
        "hives [object]",
        "workers [Worker]",
        "queues object",
        "models_unloaded [string]",
        "devices_unusable [Device]",
    ),
    "Status": fields(
        "version string",
        "pid integer",
        "url string",
        "ready boolean",
        "key_needed boolean",
        "problem string?",
        "message string?",
        "hive object?",
        "machine string?",
        "cores integer?",
        "memory_bytes integer?",
        "engine object?",
        "devices [Device]",
    ),
    "StoredModels": fields("models [ModelView]"),
    "ComparedModels": fields("models [Compared]"),
    "Lines": fields("lines [string]"),
    "Stopped": fields("stopped [string]"),
    "Drained": fields("drained string"),
    "Removed": fields("removed string"),
    "Attached": fields(
        "worker string", "model string", "theirs string", "address string", "context_tokens integer"
    ),
    "Detached": fields("detached string"),
    "Key": fields(*_KEY),
    "KeyList": fields("keys [Key]"),
    "NewKey": fields(*_KEY, "key string"),
    "RevokedKey": fields(*_KEY, "left integer"),
}
_PARSED = (
    AttachAsk,
    DetachAsk,
    DrainAsk,
    ImportAsk,
    KeyAsk,
    NameAsk,
    PinAsk,
    PruneAsk,
    RevokeAsk,
    ServeAsk,
    ShutdownAsk,
    StopAsk,
    Compared,
    Device,
    ModelView,
    Pruned,
    Stock,
)


def components() -> dict[str, Schema]:
    """All shapes by name."""
    _, found = msgspec.json.schema_components(_PARSED, ref_template=_PLACE)
    return {**_OWN, **found}
