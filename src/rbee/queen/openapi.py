"""`/openapi.json`: the routes, their bodies and their answers, made from the route table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rbee.policy.fair_queue import Priority
from rbee.queen.answer import Dialect
from rbee.queen.openapi_shapes import Schema, components, refer
from rbee.version import VERSION

_JSON = "application/json"
_EVENTS = "text/event-stream"
_LINES = "application/x-ndjson"
_TEXT = "text/plain"

_FOLLOW = "/v1/jobs/{id}/stream"
_LOGS = "/rbee/workers/{id}/logs"


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one method of a route. `answer` and `body` name shapes."""

    summary: str
    answer: str = "Answer"
    body: str | None = None
    status: int = 200
    streams: bool = False
    """With `stream: true` the answer is events."""
    kind: str = _JSON
    asks: tuple[str, ...] = ()
    """Parameters, by name."""


_AT = ("x-request-timeout", "x-rbee-priority")
_CHAT = (*_AT, "x-rbee-events", "x-rbee-quiet", "x-rbee-exact", "idempotency-key")
_FLAG: Schema = {"enum": ["0", "1"]}
_PARAMETERS: dict[str, tuple[str, Schema, str]] = {
    "x-request-timeout": ("header", {"type": "string"}, "Seconds for the whole request"),
    "x-rbee-priority": ("header", {"enum": [one.value for one in Priority]}, "Place in line"),
    "x-rbee-events": ("header", _FLAG, "1: typed events while it waits"),
    "x-rbee-quiet": ("header", _FLAG, "1: no object `rbee` in the finish"),
    "x-rbee-exact": ("header", _FLAG, "1: no other text than the first attempt's, at any wait"),
    "idempotency-key": (
        "header",
        {"type": "string", "minLength": 1, "maxLength": 255},
        "Run once, however often it is sent",
    ),
    "last-event-id": ("header", {"type": "string"}, "Go on after this event"),
    "last_event_id": ("query", {"type": "string"}, "The same"),
    "model": ("query", {"type": "string"}, "May be left out where just one could be meant"),
    "lines": ("query", {"type": "integer", "minimum": 0}, "How many at most"),
    "code": ("query", {"type": "string"}, "Only faults with this code"),
    "job": ("query", {"type": "string"}, "Only faults of this job"),
    "follow": ("query", _FLAG, "1: go on with what happens from now on"),
}

TOLD: dict[tuple[str, str], Told] = {
    ("GET", "/"): Told("A word that rbee is running", kind=_TEXT),
    ("GET", "/health"): Told("Alive", "Said"),
    ("GET", "/ready"): Told("Able to serve", "Said"),
    ("GET", "/metrics"): Told("Prometheus metrics", kind=_TEXT),
    ("GET", "/openapi.json"): Told("This description"),
    ("GET", "/v1/models"): Told("All models that can be asked for, loaded or not", "ModelList"),
    ("GET", "/v1/models/{id}"): Told("One model", "Model"),
    ("POST", "/v1/chat/completions"): Told(
        "Chat, streamed or whole (OpenAI)", "ChatCompletion", "ChatRequest", 200, True, asks=_CHAT
    ),
    ("POST", "/v1/completions"): Told(
        "Text completion, streamed or whole (OpenAI)",
        "ChatCompletion",
        "CompletionRequest",
        200,
        True,
        asks=_CHAT,
    ),
    ("POST", "/v1/embeddings"): Told(
        "Embeddings (OpenAI)", "Embeddings", "EmbeddingRequest", asks=_AT
    ),
    ("POST", "/v1/responses"): Told(
        "Responses (OpenAI), routed by model", "Answer", "ResponsesRequest", 200, True, asks=_AT
    ),
    ("POST", "/v1/messages"): Told(
        "Messages (Anthropic), routed by model", "Answer", "MessagesRequest", 200, True, asks=_AT
    ),
    ("POST", "/v1/messages/count_tokens"): Told(
        "Tokens of a message (Anthropic)", "Answer", "MessagesRequest", asks=_AT
    ),
    ("GET", "/v1/jobs"): Told("All jobs of this caller", "JobList"),
    ("POST", "/v1/jobs"): Told(
        "An answer that outlives its connection",
        "Job",
        "JobRequest",
        202,
        asks=(*_AT, "x-rbee-quiet", "x-rbee-exact", "idempotency-key"),
    ),
    ("GET", "/v1/jobs/{id}"): Told("One job and its answer as far as it has come", "JobAnswer"),
    ("DELETE", "/v1/jobs/{id}"): Told("It ends now; said twice, nothing changes", status=204),
    ("GET", _FOLLOW): Told(
        "The answer of a job as events with ids, from its start or after Last-Event-ID",
        kind=_EVENTS,
        asks=("last-event-id", "last_event_id"),
    ),
    ("POST", "/v1/rerank"): Told("Rerank documents", "Answer", "RerankRequest", asks=_AT),
    ("POST", "/infill"): Told(
        "Fill in the middle (llama.cpp)", "Any", "InfillRequest", 200, True, asks=_AT
    ),
    ("POST", "/completion"): Told(
        "Completion (llama.cpp)", "Any", "NativeRequest", 200, True, asks=_AT
    ),
    ("GET", "/props"): Told("Properties of one model's engine (llama.cpp)", asks=("model",)),
    ("POST", "/tokenize"): Told("Text to tokens (llama.cpp)", body="TokenizeRequest", asks=_AT),
    ("POST", "/detokenize"): Told("Tokens to text (llama.cpp)", body="DetokenizeRequest", asks=_AT),
    ("POST", "/apply-template"): Told(
        "Messages to prompt (llama.cpp)", body="TemplateRequest", asks=_AT
    ),
    ("GET", "/rbee/status"): Told("rbee, its machine and its engine", "Status"),
    ("GET", "/rbee/ps"): Told("Workers and queues", "Workers"),
    ("GET", "/rbee/models"): Told("Stored models", "StoredModels"),
    ("POST", "/rbee/models/pull"): Told("Fetch a model", body="NameAsk", kind=_LINES),
    ("POST", "/rbee/models/verify"): Told("Read it again, mend it", body="NameAsk", kind=_LINES),
    ("POST", "/rbee/models/import"): Told(
        "Link what another program holds", body="ImportAsk", kind=_LINES
    ),
    ("POST", "/rbee/models/remove"): Told("Remove a stored model", "Removed", "NameAsk"),
    ("POST", "/rbee/models/pin"): Told("Whether it may be pruned", "ModelView", "PinAsk"),
    ("POST", "/rbee/models/prune"): Told("Bring the store down to a size", "Pruned", "PruneAsk"),
    ("GET", "/rbee/models/outdated"): Told("What the sources have now", "ComparedModels"),
    ("GET", "/rbee/models/stock"): Told("What lies in the store beside its models", "Stock"),
    ("POST", "/rbee/serve"): Told("Keep a model loaded", body="ServeAsk", kind=_LINES),
    ("POST", "/rbee/stop"): Told("Unload a model, a worker or all", "Stopped", "StopAsk"),
    ("POST", "/rbee/resume"): Told("Load again what `stop` of all sent to rest", "Said"),
    ("POST", "/rbee/workers/attach"): Told(
        "Put a server that somebody else runs into the pool", "Attached", "AttachAsk"
    ),
    ("POST", "/rbee/workers/detach"): Told("Take it out", "Detached", "DetachAsk"),
    ("POST", "/rbee/workers/drain"): Told("Replace a worker at leisure", "Drained", "DrainAsk"),
    ("GET", _LOGS): Told("The last lines of its engine", "Lines", asks=("lines",)),
    ("GET", "/rbee/events"): Told(
        "Faults and what was done, oldest first", kind=_LINES, asks=("code", "job", "follow")
    ),
    ("GET", "/rbee/keys"): Told("All keys, without their secrets", "KeyList"),
    ("POST", "/rbee/keys/create"): Told("A new key, told this once", "NewKey", "KeyAsk"),
    ("POST", "/rbee/keys/revoke"): Told("It opens nothing any more", "RevokedKey", "RevokeAsk"),
    ("POST", "/rbee/shutdown"): Told("Drain, end everything, go", "Said", "ShutdownAsk", 202),
}
"""Every method of every route."""

_SHOWN = {"/rbee/workers/": (_LOGS,), "/v1/jobs/": ("/v1/jobs/{id}", _FOLLOW)}
"""Routes that end in `/` and have more than an id behind it."""


def document() -> dict[str, Any]:
    """OpenAPI 3.1 of all routes."""
    from rbee.queen.route_table import ROUTES

    paths: dict[str, Any] = {}
    for path, route in ROUTES.items():
        for shown in shown_as(path):
            told = {m: TOLD[m, shown] for m in route.methods if (m, shown) in TOLD}
            paths[shown] = {m.lower(): _operation(one, route.dialect) for m, one in told.items()}
            if "{id}" in shown:
                paths[shown]["parameters"] = [_ID]
            for one in paths[shown].values():
                if isinstance(one, dict) and (route.public or route.admin):
                    one["security"] = [] if route.public else [*_KEYS]
                    one["tags"] = ["open"] if route.public else ["admin"]
    return {
        "openapi": "3.1.0",
        "info": {"title": "rbee", "version": VERSION, "license": {"name": "Apache-2.0"}},
        "security": [{}, *_KEYS],
        "paths": paths,
        "components": {"schemas": components(), "securitySchemes": _SCHEMES},
    }


def shown_as(path: str) -> tuple[str, ...]:
    """The addresses of a route; one that ends in `/` takes what follows."""
    prefix = path.endswith("/") and path != "/"
    return _SHOWN.get(path, (path + "{id}",)) if prefix else (path,)


_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_KEYS: list[dict[str, list[str]]] = [{"bearer": []}, {"x-api-key": []}]
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def _operation(told: Told, dialect: Dialect) -> dict[str, Any]:
    error = "AnthropicError" if dialect is Dialect.ANTHROPIC else "Error"
    operation: dict[str, Any] = {
        "summary": told.summary,
        "responses": {
            str(told.status): _answer(told),
            "default": {
                "description": "An error of the catalogue",
                "content": {_JSON: {"schema": refer(error)}},
            },
        },
    }
    if told.asks:
        operation["parameters"] = [_parameter(name) for name in told.asks]
    if told.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {_JSON: {"schema": refer(told.body)}},
        }
    return operation


def _answer(told: Told) -> dict[str, Any]:
    if told.status == 204:
        return {"description": "Done"}
    shapes = {_JSON: refer(told.answer), _EVENTS: refer("Event")}
    content = {told.kind: {"schema": shapes.get(told.kind, {"type": "string"})}}
    if told.streams:
        content[_EVENTS] = {"schema": shapes[_EVENTS]}
    return {"description": "The answer", "content": content}


def _parameter(name: str) -> dict[str, Any]:
    place, schema, words = _PARAMETERS[name]
    return {"name": name, "in": place, "description": words, "schema": schema}
