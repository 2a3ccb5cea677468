"""`/openapi.json`: the routes, their bodies and their errors, made from the route table."""

from __future__ import annotations

from typing import Any

from rbee.version import VERSION
from rbee.wire.jobs import CHAT, ENDPOINTS

_FOLLOW = "/v1/jobs/{id}/stream"
_LAST_EVENT = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}}

_SUMMARIES = {
    "/": "A word that rbee is running",
    "/health": "Alive",
    "/ready": "Able to serve",
    "/metrics": "Prometheus metrics",
    "/openapi.json": "This description",
    "/v1/models": "All models that can be asked for, loaded or not",
    "/v1/models/": "One model",
    "/v1/chat/completions": "Chat, streamed or whole (OpenAI)",
    "/v1/completions": "Text completion, streamed or whole (OpenAI)",
    "/v1/embeddings": "Embeddings (OpenAI)",
    "/v1/responses": "Responses (OpenAI), routed by model",
    "/v1/messages": "Messages (Anthropic), routed by model",
    "/v1/messages/count_tokens": "Tokens of a message (Anthropic)",
    "/v1/jobs": "Answers that outlive their connection: all of them, or a new one",
    "/v1/jobs/": "One job and its answer as far as it has come; DELETE ends it",
    _FOLLOW: "The answer of a job as events with ids, from its start or after Last-Event-ID",
    "/v1/rerank": "Rerank documents",
    "/infill": "Fill in the middle (llama.cpp)",
    "/completion": "Completion (llama.cpp)",
    "/props": "Properties of one model's engine (llama.cpp)",
    "/tokenize": "Text to tokens (llama.cpp)",
    "/detokenize": "Tokens to text (llama.cpp)",
    "/apply-template": "Messages to prompt (llama.cpp)",
    "/rbee/status": "rbee, its machine and its engine",
    "/rbee/ps": "Workers and queues",
    "/rbee/models": "Stored models",
}

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
                "retryable": {"type": "boolean"},
                "retry_after_s": {"type": ["number", "null"]},
                "action": {"type": "string"},
                "details": {"type": "object"},
                "job_id": {"type": ["string", "null"]},
            },
        }
    },
}

_BODY = {
    "type": "object",
    "required": ["model"],
    "properties": {
        "model": {"type": "string", "maxLength": 512},
        "stream": {"type": ["boolean", "null"]},
        "seed": {"type": ["integer", "null"]},
        "timeout_s": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "stream_options": {
            "type": ["object", "null"],
            "properties": {"include_usage": {"type": ["boolean", "null"]}},
        },
    },
    "additionalProperties": True,
}

_JOB = {
    "type": "object",
    "required": ["request"],
    "properties": {
        "endpoint": {"enum": list(ENDPOINTS), "default": CHAT},
        "request": {"$ref": "#/components/schemas/Request"},
        "on_disconnect": {"enum": ["continue", "cancel"], "default": "continue"},
    },
    "additionalProperties": False,
}


def document() -> dict[str, Any]:
    """OpenAPI 3.1 of all routes that are open on the network address."""
    from rbee.queen.route_table import ROUTES

    paths: dict[str, Any] = {}
    for path, route in ROUTES.items():
        if route.admin:
            continue
        shown = path + "{id}" if path.endswith("/") and path != "/" else path
        paths[shown] = {method.lower(): _operation(path, method) for method in route.methods}
        if shown != path:
            paths[shown]["parameters"] = [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
            ]
    paths[_FOLLOW] = {
        "get": {**_operation(_FOLLOW, "GET"), "parameters": [_LAST_EVENT]},
        "parameters": paths["/v1/jobs/{id}"]["parameters"],
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "rbee", "version": VERSION, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, "Request": _BODY, "Job": _JOB}},
    }


def _operation(path: str, method: str) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    operation: dict[str, Any] = {
        "summary": _SUMMARIES[path],
        "responses": {
            "200": {"description": "The answer"},
            "default": {"description": "An error of the catalogue", "content": error},
        },
    }
    if method == "POST":
        shape = "Job" if path == "/v1/jobs" else "Request"
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation
