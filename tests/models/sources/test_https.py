"""A file of the web: what one byte of it tells."""

import pytest

from rbee.errors import RbeeError
from rbee.models.names import Https
from rbee.models.sources.https import resolve
from tests.file_server import first, status
from tests.models.sources.conftest import fetched

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def files(server):
    server.files["/a/tiny.gguf"] = b"GGUF and more"
    server.etags["/a/tiny.gguf"] = '"v1"'
    return server


def refused(url, web) -> RbeeError:
    with pytest.raises(RbeeError) as caught:
        resolve(Https(url), web)
    return caught.value


def test_one_byte_tells_size_and_version(files, web):
    """And no more than that is fetched; the digest is the one that the name gives."""
    name = Https(f"{files.url}/a/tiny.gguf?download=true", DIGEST)

    found = resolve(name, web)

    (remote,) = found.files
    assert (remote.url, remote.size_bytes, remote.validator) == (name.url, 13, '"v1"')
    assert (remote.digest, remote.name, found.source) == (DIGEST, "tiny.gguf", name.ref)
    assert [(one.begin, one.end) for one in files.asked] == [(0, 1)]


def test_a_source_without_parts_tells_its_size_too(files, web):
    """It answers with the whole, which is not read."""

    def whole(asked, answer):
        answer.status, answer.body = 200, files.files[asked.path]
        answer.headers.pop("content-range", None)

    files.faults.append(whole)

    assert resolve(Https(files.url + "/a/tiny.gguf"), web).files[0].size_bytes == 13


@pytest.mark.parametrize("part", [1, 2])
def test_the_other_files_of_a_model_lie_beside_it(server, web, part):
    """Whichever of them is named; the digest of the name is that of all together."""
    for number in (1, 2):
        server.files[f"/my%20m-0000{number}-of-00002.gguf"] = b"%d" % number

    found = resolve(Https(f"{server.url}/my%20m-0000{part}-of-00002.gguf", DIGEST), web)

    assert [fetched(web, remote) for remote in found.files] == [b"1", b"2"]
    assert [remote.name for remote in found.files] == [
        "my m-00001-of-00002.gguf",
        "my m-00002-of-00002.gguf",
    ]
    assert [remote.digest for remote in found.files] == ["", ""]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (status(404), "SOURCE_NOT_FOUND"),
        (status(401), "SOURCE_FORBIDDEN"),
        (status(429), "SOURCE_RATE_LIMITED"),
        (status(200, content_type="text/html"), "SOURCE_BROKEN"),
        (status(206, content_range="bytes 5-6/9"), "SOURCE_BROKEN"),
    ],
)
def test_what_is_no_file_is_told_apart(files, web, fault, code):
    """A page of a log-in is not a model."""
    files.faults.append(fault)

    assert refused(files.url + "/a/tiny.gguf", web).code == code


def test_an_empty_file_is_no_model(files, web):
    """It would be whole at once."""
    files.files["/a/tiny.gguf"] = b""
    files.faults.append(lambda _, answer: setattr(answer, "status", 200))

    assert refused(files.url + "/a/tiny.gguf", web).code == "SOURCE_BROKEN"


def test_what_passes_is_waited_for(files, web):
    """A burst of failures costs nothing but time."""
    files.faults.append(first(3, status(502)))

    assert resolve(Https(files.url + "/a/tiny.gguf"), web).files[0].size_bytes == 13
