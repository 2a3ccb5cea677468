"""Tokens as the engine counted them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.wire.usage import tokens_of


@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        (b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}', (3, 2)),
        (b'{"object":"list","usage":{"prompt_tokens":7,"total_tokens":7}}', (7, 0)),
        (b'{"type":"message_start","message":{"usage":{"input_tokens":5}}}', (5, 0)),
        (b'{"type":"message_delta","usage":{"output_tokens":9}}', (0, 9)),
        (b'{"response":{"usage":{"input_tokens":4,"output_tokens":6}}}', (4, 6)),
        (b'{"choices":[{"delta":{"content":"usage"}}]}', (0, 0)),
        (b'{"stop":true,"tokens_evaluated":5,"tokens_predicted":8}', (5, 8)),
        (b'{"usage":null}', (0, 0)),
        (b'{"usage":{"prompt_tokens":"many","completion_tokens":true}}', (0, 0)),
        (b'["usage"]', (0, 0)),
        (b"usage", (0, 0)),
    ],
)
def test_each_dialect_has_its_words(data: bytes, tokens: tuple[int, int]) -> None:
    """OpenAI's, Anthropic's and those of Responses; anything else counts nothing."""
    assert tokens_of(data) == tokens


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_borne(data: bytes) -> None:
    """An engine that sends rubbish is somebody else's fault to tell."""
    assert tokens_of(b'"usage"' + data) == (0, 0)
