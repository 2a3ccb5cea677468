"""What the fuzz found and no other test holds, by name."""

from __future__ import annotations

import pytest

from tests.fuzz.conftest import Fuzzed
from tests.queen.stage import END, HEAD, chunk, event


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/tokenize", b"text/event-stream", b"data: {}\n\n"),
        ("/tokenize", b"text/html", b"<html>"),
        ("/v1/embeddings", b"application/json", b'{"data": ['),
        ("/v1/chat/completions", b"application/json", b"data: {}\n\n"),
    ],
)
def test_what_is_no_json_is_not_passed_on_as_an_answer(
    fuzzed: Fuzzed, path: str, kind: bytes, body: bytes
) -> None:
    """Whoever asked for one object gets one, or an error with a code."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
    fuzzed.plays(head + body)

    answer = fuzzed.run(fuzzed.stage.client.post(path, json={"model": "tiny", "messages": []}))

    assert answer.json()["error"]["code"] == "WORKER_LOST"


def test_a_chunk_whose_id_is_no_text_is_a_fault_of_the_engine(fuzzed: Fuzzed) -> None:
    """And not a mistake of ours."""
    odd = event(content="a").replace(b'"chatcmpl-x"', b"[]")
    fuzzed.plays(HEAD, chunk(odd), END)

    assert fuzzed.run(fuzzed.stage.chat()).json()["error"]["code"] == "WORKER_LOST"
