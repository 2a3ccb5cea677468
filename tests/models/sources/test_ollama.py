"""A registry of containers that holds models: what of it is the model, and what it may say."""

import hashlib
import json
import re

import pytest

from rbee.errors import RbeeError
from rbee.models.names import parse
from rbee.models.sources.ollama import resolve
from tests.file_server import Answer, Asked, first, status
from tests.models.sources.conftest import fetched

MODEL = b"GGUF of a model"
DIGEST = "sha256:" + hashlib.sha256(MODEL).hexdigest()
_MANIFEST = "/v2/library/tiny/manifests/1b"


def layer(kind="model", digest=DIGEST, size=len(MODEL)):
    media_type = f"application/vnd.ollama.image.{kind}"
    return {"mediaType": media_type, "digest": digest, "size": size}


def manifest(*layers) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": {}, "layers": layers}).encode()


@pytest.fixture
def registry(server):
    server.files[_MANIFEST] = manifest(layer("template", "sha256:" + "0" * 64, 5), layer())
    server.files[f"/v2/library/tiny/blobs/{DIGEST}"] = MODEL
    return server


def name_at(server, rest="library/tiny:1b"):
    return parse(f"ollama:{server.url.removeprefix('http://')}/{rest}")


def refused(server, web, rest="library/tiny:1b") -> RbeeError:
    with pytest.raises(RbeeError) as caught:
        resolve(name_at(server, rest), web)
    return caught.value


def test_the_layer_that_is_a_gguf_is_the_model(registry, web):
    """Its digest, its size, and an address where just these bytes are."""
    name = name_at(registry)
    found = resolve(name, web)

    (remote,) = found.files
    assert (remote.digest, remote.size_bytes, found.source) == (DIGEST, len(MODEL), name.ref)
    assert found.revision == "sha256:" + hashlib.sha256(registry.files[_MANIFEST]).hexdigest()
    assert fetched(web, remote) == MODEL
    assert "docker.distribution.manifest" in registry.asked[0].headers["accept"]


def wants_token(realm: str):
    """A registry that answers those with a token only."""

    def act(asked: Asked, answer: Answer) -> None:
        if asked.path.startswith("/v2/") and asked.headers.get("authorization") != "Bearer t0k":
            answer.status, answer.body = 401, b""
            answer.headers = {
                "www-authenticate": f'Bearer realm="{realm}",service="it",scope="repository:x:pull"'
            }

    return act


@pytest.mark.parametrize("word", ["token", "access_token"])
def test_a_token_that_everybody_gets_is_asked_for(registry, web, word):
    """The registry says where; the token goes along with the manifest and the file."""
    registry.files["/auth"] = json.dumps({word: "t0k"}).encode()
    registry.faults.append(wants_token(registry.url + "/auth"))

    (remote,) = resolve(name_at(registry), web).files

    assert fetched(web, remote) == MODEL
    asked = next(one.path for one in registry.asked if one.path.startswith("/auth"))
    assert re.search(r"service=it&scope=repository%3Ax%3Apull$", asked)


@pytest.mark.parametrize(
    "realm", ["", "http://hub.example.org/auth", "file:///etc/passwd", "/auth", "http://[/"]
)
def test_a_token_is_fetched_from_no_odd_place(registry, web, realm):
    """Only https, or this machine for a registry of this machine; else it is a refusal."""
    registry.faults.append(wants_token(realm))

    assert refused(registry, web).code == "SOURCE_FORBIDDEN"
    assert len(registry.asked) == 1


@pytest.mark.parametrize("given", [b"{}", b'{"token": "a\\nb"}', b"<html>", b'{"token": 1}'])
def test_a_token_that_is_none_is_told(registry, web, given):
    """It reaches no header."""
    registry.files["/auth"] = given
    registry.faults.append(wants_token(registry.url + "/auth"))

    assert refused(registry, web).code in ("SOURCE_FORBIDDEN", "SOURCE_BROKEN")


def test_a_refused_token_is_not_asked_for_for_ever(registry, web):
    """One token, one more try."""
    registry.files["/auth"] = b'{"token": "other"}'
    registry.faults.append(wants_token(registry.url + "/auth"))

    assert refused(registry, web).code == "SOURCE_FORBIDDEN"
    assert len(registry.asked) == 3


def test_a_tag_that_is_not_there_is_told(registry, web):
    """With a word about what is missing."""
    error = refused(registry, web, "library/tiny:2b")

    assert error.code == "SOURCE_NOT_FOUND" and "tag" in error.report.message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (manifest(), "SOURCE_NOT_FOUND"),
        (manifest(layer("tensor")), "SOURCE_NOT_FOUND"),
        (manifest(layer(), layer()), "SOURCE_BROKEN"),
        (manifest(layer(digest="sha256:../../x")), "SOURCE_BROKEN"),
        (manifest(layer(size=0)), "SOURCE_BROKEN"),
        (manifest(layer(size=-1)), "SOURCE_BROKEN"),
        (manifest(layer(size="1")), "SOURCE_BROKEN"),
        (b"[]", "SOURCE_BROKEN"),
        (b"<html>", "SOURCE_BROKEN"),
        (b"[" * 100_000, "SOURCE_BROKEN"),
        (b" " * (9 << 20), "SOURCE_BROKEN"),
    ],
)
def test_a_manifest_that_names_no_model_is_told(registry, web, body, code):
    """Nothing of it is taken for more than it is."""
    registry.files[_MANIFEST] = body

    assert refused(registry, web).code == code


def test_a_registry_that_fails_for_a_moment_is_asked_again(registry, web):
    """A burst of 503 costs nothing but time."""
    registry.faults.append(first(3, status(503)))

    assert resolve(name_at(registry), web).files[0].digest == DIGEST


@pytest.mark.parametrize(
    ("number", "code"), [(429, "SOURCE_RATE_LIMITED"), (403, "SOURCE_FORBIDDEN")]
)
def test_a_refusal_has_its_own_code(registry, web, number, code):
    """Too many questions is not the same as no right."""
    registry.faults.append(status(number))

    assert refused(registry, web).code == code
