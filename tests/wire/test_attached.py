"""Promises about servers of somebody else: addresses, lists of models, what they are asked."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import RbeeError
from rbee.wire.attached import (
    Address,
    Foreign,
    body_for,
    choose,
    foreign_refusal,
    models_of,
    parse_address,
    renaming,
    told_to_go_on,
)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:8000/v1", Address("127.0.0.1", 8000, "/v1", False)),
        ("http://gpu-box:11434", Address("gpu-box", 11434, "/v1", False)),
        ("https://api.example.com/openai/v1/", Address("api.example.com", 443, "/openai/v1", True)),
        ("http://[::1]:8000/v1", Address("::1", 8000, "/v1", False)),
    ],
)
def test_addresses_as_people_write_them(url: str, found: Address):
    """With and without a path or a port; shown again in one form."""
    assert parse_address(url) == found
    assert parse_address(found.address) == found


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@host/v1",
        "http://host/v1?api_key=secret",
        "http://host/v1#secret",
        "ftp://secret/v1",
        "secret",
        "http://host:secret/v1",
        "http://host/v1 secret",
        "http://host/v1\r\nx-secret: 1",
        "http://[secret/v1",
        "http://a..secret/v1",
        "http://schön/v1",
        "http://[::1%25secret]/v1",
    ],
)
def test_an_address_holds_no_secret_and_nothing_else_that_is_odd(url: str):
    """It is refused, and what was in it is not said again."""
    with pytest.raises(RbeeError) as raised:
        parse_address(url)
    assert raised.value.code == "INVALID_REQUEST"
    assert "secret/" not in str(raised.value) and "me:" not in str(raised.value)


LISTS = {
    "vllm": {"id": "Qwen/Q3", "owned_by": "vllm", "max_model_len": 32768},
    "llama.cpp": {"id": "/m/q.gguf", "owned_by": "llamacpp", "meta": {"n_ctx_train": 2048}},
    "ollama": {"id": "llama3:8b", "owned_by": "library"},
    "openai": {"id": "gpt-x", "owned_by": "system", "max_model_len": None, "meta": 3},
}


@pytest.mark.parametrize(
    ("kind", "context"), [("vllm", 32768), ("llama.cpp", 2048), ("ollama", 0), ("openai", 0)]
)
def test_a_server_says_what_it_is(kind: str, context: int):
    """Kind, name and context, as far as it tells them."""
    body = json.dumps({"data": [LISTS[kind], {"no": "id"}, 7]}).encode()
    assert models_of(body) == (Foreign(str(LISTS[kind]["id"]), kind, context),)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"data":{}}', b"\xff", b"[" * 5000])
def test_an_answer_that_is_no_list_is_said_so(body: bytes):
    """Whatever came, the reason is a sentence and no traceback."""
    with pytest.raises(ValueError, match="list of models"):
        models_of(body)


def listed(*names: str) -> tuple[Foreign, ...]:
    return tuple(Foreign(name, "openai", 0) for name in names)


@pytest.mark.parametrize(
    ("names", "asked", "found"),
    [
        (("a",), "", ("a", "a")),
        (("a",), "b", ("b", "a")),
        (("a", "b"), "b", ("b", "b")),
        (("a", "b"), "c=b", ("c", "b")),
        (("/models/tiny.gguf",), "", ("tiny", "/models/tiny.gguf")),
    ],
)
def test_which_model_is_meant(names: tuple[str, ...], asked: str, found: tuple[str, str]):
    """The only one, or the one that is named; a name of ours for it if given."""
    assert choose(listed(*names), asked) == found


@pytest.mark.parametrize(
    ("names", "asked"), [(("a", "b"), ""), (("a", "b"), "c"), ((), ""), (("a",), "b=c")]
)
def test_what_is_not_clear_is_asked(names: tuple[str, ...], asked: str):
    """The refusal names what there is."""
    with pytest.raises(RbeeError, match=r"INVALID_REQUEST: .*model"):
        choose(listed(*names), asked)


def test_only_what_everybody_knows_is_sent():
    """What llama.cpp alone knows stays here; the rest goes as it came."""
    body = {"model": "x", "return_progress": True, "cache_prompt": False, "seed": 3, "top_p": 1}
    assert body_for(body, "theirs") == {"model": "theirs", "seed": 3, "top_p": 1}
    assert body["model"] == "x"


def test_who_must_be_told_to_go_on_is_told():
    """vLLM closes a last message of the assistant unless it is told not to."""
    chat = {"messages": []}
    assert told_to_go_on(chat, "llama.cpp") == chat
    told = told_to_go_on(chat, "vllm")
    assert told["continue_final_message"] is True and told["add_generation_prompt"] is False


@pytest.mark.parametrize(
    ("status", "after", "code"),
    [
        (401, None, "ATTACHED_KEY"),
        (403, None, "ATTACHED_KEY"),
        (429, "7", "ATTACHED_BUSY"),
        (408, "soon", "ATTACHED_BUSY"),
    ],
)
def test_what_is_about_the_server_is_no_ones_request(status: int, after: str, code: str):
    """A refused key and a full server say nothing of the request."""
    error = foreign_refusal(status, after, model="m", worker="a1")
    assert error is not None and error.code == code
    if after == "7":
        assert error.facts["retry_after_s"] == 7


@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
def test_other_words_are_looked_at(status: int):
    """Whether the request or the server is to blame stands in its words."""
    assert foreign_refusal(status, None, model="m", worker="a1") is None


names = st.text(min_size=1, max_size=20)


@given(theirs=names, ours=names, text=st.text(max_size=60), spaced=st.booleans())
def test_a_chunk_names_what_the_client_asked_for(theirs: str, ours: str, text: str, spaced: bool):
    """Only the name is changed, whatever the text says of it and however JSON was written."""
    quoting = f'"model":"{theirs}" {text}'
    chunk = {"model": theirs, "choices": [{"delta": {"content": quoting}}]}
    data = json.dumps(chunk).encode() if spaced else msgspec.json.encode(chunk)
    rename = renaming(theirs, ours)
    after = json.loads(rename(data) if rename else data)
    assert after == {**chunk, "model": ours}
