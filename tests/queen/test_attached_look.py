"""What one look at a server of somebody else finds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rbee.edge.http_client import HttpClient
from rbee.errors import RbeeError
from rbee.queen.attached import new_wish
from rbee.queen.attached_look import Look, key_of, look_at
from rbee.settings import Timing
from rbee.wire.attached import Attachment
from tests.queen.foreign import MODELS, Foreign, foreign, said

TIMING = Timing(attached_probe_s=0.3)


def wish(port: int = 1, **fields: object) -> Attachment:
    asked = {"host": "127.0.0.1", "port": port, "base": "/v1", "tls": False}
    named = {"model": "tiny", "theirs": "their-model"}
    return new_wish("a1", **{**asked, **named, **fields})


def looked(prepare=lambda server: None, **fields: object) -> tuple[Look, Foreign]:
    async def run() -> tuple[Look, Foreign]:
        client = HttpClient(0.3)
        async with foreign() as server:
            prepare(server)
            try:
                return await look_at(client, wish(server.port, **fields), TIMING), server
            finally:
                await client.close()

    return asyncio.run(run())


def test_a_model_that_is_there_is_found():
    """With what the server says of it; no key is sent where none was named."""
    look, server = looked()
    assert look.error is None and look.foreign is not None
    assert (look.foreign.kind, look.foreign.context_tokens) == ("vllm", 2048)
    assert "authorization" not in server.heads[0].lower()


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (said({}, 401), "ATTACHED_KEY", "401"),
        (said({}, 503), "ATTACHED_UNREACHABLE", "it answered 503 to GET /v1/models"),
        (said({"data": []}), "ATTACHED_UNREACHABLE", "does not serve their-model"),
        (said("hello"), "ATTACHED_UNREACHABLE", "gives no list of models"),
    ],
)
def test_what_it_says_is_certain(answer: bytes, code: str, words: str):
    """A refusal is no silence, and its reason is told."""
    look, _ = looked(lambda server: server.answers.update({"/v1/models": answer}))
    assert look.error is not None and not look.silent
    assert look.error.code == code and words in str(look.error)


def test_silence_is_told_apart():
    """A server that takes the question and says nothing may be busy, or its network bad."""
    look, _ = looked(lambda server: server.answers.update({"/v1/models": None}))
    assert look.silent and "said nothing within 0.3 s" in str(look.error)


def test_a_closed_port_is_no_silence():
    """The kernel there said that nobody listens."""
    look, _ = looked(lambda server: server.stop())
    assert look.error is not None and look.error.code == "ATTACHED_UNREACHABLE" and not look.silent


def test_the_key_comes_from_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A variable of the environment, or a private file; a line end after it is no part of it."""
    path = tmp_path / "key"
    path.write_text("sk-file\n")
    path.chmod(0o600)
    monkeypatch.setenv("OTHER_KEY", "sk-env")
    assert key_of(wish()) == ""
    assert key_of(wish(key_env="OTHER_KEY")) == "sk-env"
    assert key_of(wish(key_file=str(path))) == "sk-file"
    look, server = looked(key_env="OTHER_KEY")
    assert look.key == "sk-env" and "authorization: Bearer sk-env\r\n" in server.heads[0]


def test_a_key_that_is_not_there_is_told_and_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No variable, a file that others may read, no key in it: what is in it is not told."""
    path = tmp_path / "key"
    path.write_text("sk secret\nsecond line")
    path.chmod(0o600)
    monkeypatch.delenv("NO_SUCH", raising=False)
    wide = tmp_path / "wide"
    wide.write_text("sk-secret")
    wide.chmod(0o644)
    for fields in (
        {"key_env": "NO_SUCH"},
        {"key_file": str(path)},
        {"key_file": str(wide)},
        {"key_file": str(tmp_path / "none")},
    ):
        with pytest.raises(RbeeError, match="ATTACHED_KEY") as raised:
            key_of(wish(**fields))
        assert "secret" not in str(raised.value)
    look, server = looked(key_env="NO_SUCH")
    assert look.error is not None and look.error.code == "ATTACHED_KEY" and not server.heads


def test_a_list_of_any_model_is_given_before_one_is_chosen():
    """At the attaching nothing is wished yet."""
    look, _ = looked(theirs="")
    assert [one.name for one in look.listed] == [one["id"] for one in MODELS["data"]]
    assert look.error is None and look.foreign is None


def test_how_long_the_answer_took_is_known():
    """Of an answer; where there was none, nothing is made up."""
    look, _ = looked()
    assert 0 < look.took_s < 5
    refused, _ = looked(key_env="NO_SUCH")
    assert refused.took_s == 0
