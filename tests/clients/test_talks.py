"""What real SDKs get from rbee when nothing is wrong, and what they raise when the request is.

The rows are what a person meets first: chat, stream, list, embed, errors.
"""

from __future__ import annotations

import json

import pytest

from eventually import eventually
from tests.clients.conftest import begin

ALL = ("openai", "openai-2", "anthropic", "litellm", "langchain", "llm")
OPENAI = ("openai", "openai-2")
CUT_SHORT = {"length", "max_tokens"}


@pytest.mark.parametrize("client", ALL)
@pytest.mark.parametrize("way", ["chat", "stream"])
def test_it_chats(heard, client, way):
    """A whole answer and a streamed one: the text, and its end in the client's own words."""
    for told in heard(client, way):
        assert told["text"]
        if client == "llm":
            assert told["exit"] == 0
        else:
            assert told["finish"] in CUT_SHORT


@pytest.mark.parametrize("client", OPENAI)
def test_chunks_are_of_one_answer(heard, client):
    """One id and the public name on each chunk; one without choices only if usage was asked."""
    plain, with_usage = heard(client, "stream")

    assert plain["ids"] == with_usage["ids"] == 1
    assert plain["models"] == with_usage["models"] == ["tiny"]
    assert (plain["without_choices"], plain["tokens"]) == (0, None)
    assert (with_usage["without_choices"], with_usage["tokens"]) == (1, 8)


def test_an_answer_can_be_named_to_the_operator(home, heard):
    """The SDK's request id is the job's id, which the logs carry."""
    (told,) = heard("openai", "chat")

    assert told["request_id"].startswith("job_")
    assert told["request_id"] in (home.path / "logs" / "queen.log").read_text()


def test_models_and_aliases(heard):
    """Names and aliases are listed once each, retrieved, and asked for; each tells its window."""
    (listed,) = heard("openai", "models")
    (answer,) = heard("openai", "alias")

    assert listed["ids"] == ["tiny", "gpt-4o-mini"]
    assert (listed["one"], listed["window"]) == ("gpt-4o-mini", 512)
    assert answer["text"] and answer["model"] == "tiny"


@pytest.mark.parametrize("client", ["openai", "litellm", "langchain"])
def test_it_embeds(heard, client):
    """Vectors of 576 numbers, from a worker of their own beside the one that chats."""
    (told,) = heard(client, "embed")

    assert set(told["sizes"]) == {576}
    assert told.get("different", True)


def test_what_only_the_engine_acts_on_reaches_it(heard):
    """A JSON schema binds the text; n, logprobs and stop are obeyed."""
    schema, choices = heard("openai", "shaped")

    assert isinstance(json.loads(schema["text"])["n"], int)
    assert (choices["choices"], choices["tops"]) == (2, [2, 2])


def test_other_routes_of_openai(heard):
    """Completions, and responses whole and streamed to their own end."""
    (completion,) = heard("openai", "completions")
    whole, streamed = heard("openai", "responses")[:2]

    assert completion["text"] and completion["finish"] == "length"
    assert whole["text"] and whole["status"] == "completed"
    assert streamed["last"] == "response.completed" and streamed["deltas"] > 1


def test_defaults_of_the_model_hold_on_every_route(heard):
    """`params` of the configuration (temperature 0): the same words, also for Anthropic."""
    for told in (heard("anthropic", "chat"), heard("openai", "responses")[::2]):
        first, again = (one["text"] for one in told)
        assert first == again


def test_anthropic_counts(heard):
    """`count_tokens` answers a number (agents compact their context by it)."""
    (told,) = heard("anthropic", "count")

    assert told["tokens"] > 10


@pytest.mark.parametrize("client", [*OPENAI, "anthropic", "litellm", "langchain"])
def test_mistakes_have_their_class(heard, client):
    """An unknown model is NotFoundError, a prompt too long BadRequestError, with the sentence."""
    unknown, overflow = [one for one in heard(client, "errors") if "raised" in one][:2]

    assert "NotFoundError" in unknown["raised"] and "Nearest: tiny" in unknown["says"]
    assert "BadRequestError" in overflow["raised"]
    assert "512" in overflow["says"] and "20" in overflow["says"]


@pytest.mark.parametrize("client", OPENAI)
def test_mistakes_are_not_repeated(heard, client):
    """The code is the SDK's `code`; what would fail again is sent once."""
    told = heard(client, "errors")
    errors, sent = told[::2], told[1::2]

    codes = ["MODEL_NOT_FOUND", "CONTEXT_OVERFLOW", "ENGINE_REFUSED"]
    assert [one["code"] for one in errors] == codes
    assert [len(one["sent"]) for one in sent] == [1, 1, 1]
    assert all(one["request_id"].startswith("job_") for one in errors)


def test_anthropic_finds_the_request_id(heard):
    """Its SDK looks for another header than OpenAI's."""
    for told in heard("anthropic", "errors"):
        assert told["request_id"].startswith("job_")


def test_llm_says_what_was_wrong(heard):
    """The sentence of the error is what its user sees, and the exit code is not 0."""
    unknown, overflow = heard("llm", "errors")

    assert unknown["exit"] == overflow["exit"] == 1
    assert "There is no model tinny here" in unknown["says"]
    assert "512" in overflow["says"]


def test_closing_a_stream_frees_the_slot(home):
    """A program that stops reading stops the engine."""
    (told,) = begin("openai", "hang_up", home.url).rest()

    assert told["closed"]
    eventually(lambda: not home.workers("BUSY"), within_s=2)
