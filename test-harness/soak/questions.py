"""What is asked: each question has one answer, for it is asked with a seed and drawn greedily."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Question:
    """A request whose answer is the same each time."""

    words: str
    tokens: int
    path: str = CHAT
    form: bool = False
    """The answer is JSON of a schema: it is only ever replayed."""


QUESTIONS = (
    Question("Count to twenty.", 16),
    Question("Tell me a story about the sea.", 64),
    Question("What is a hive?", 32),
    Question("Tell me a story about a fox and a hare.", 120),
    Question("The sea is", 32, path="/v1/completions"),
    Question("Invent a person. Answer in JSON.", 60, form=True),
)

_PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 30}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


def body(question: Question) -> dict[str, Any]:
    found: dict[str, Any] = {"model": "tiny", "temperature": 0, "seed": 1}
    found["max_tokens"] = question.tokens
    if question.path == CHAT:
        found["messages"] = [{"role": "user", "content": question.words}]
    else:
        found["prompt"] = question.words
    if question.form:
        schema = {"name": "person", "schema": _PERSON}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    return found


def asked(question: Question) -> dict[str, Any]:
    """The same as a stream."""
    return {**body(question), "stream": True, "stream_options": {"include_usage": True}}


RUBBISH = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'{"model": "tiny"}',
    b'{"model": "tinny", "messages": []}',
    b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": "many"}',
    b'{"model": 7, "messages": "x"}',
    b"[" * 2000,
    b'{"model": "tiny", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    json.dumps(
        {"model": "tiny", "messages": [{"role": "user", "content": "word " * 3000}]}
    ).encode(),
)
