"""Stored files and those of a source are matched, or left alone where they are not the same."""

import pytest

from rbee.edge.web import Web
from rbee.models.at_source import counterpart, look_at, range_reader, resolver
from rbee.models.manifest import Piece
from rbee.models.outdated import compared
from rbee.models.sources import Found, Remote
from rbee.settings import Timing
from tests.file_server import file_server
from tests.models.test_store import stored


def remote(digest: str = "", size_bytes: int = 0, name: str = "") -> Remote:
    return Remote("https://host/x", size_bytes, digest, name=name)


def found(*files: Remote, revision: str = "", member: str = "") -> Found:
    return Found("hf:x/y", files, revision, member)


PIECE = Piece("sha256:a", 10, {}, (1,), "a-00001.gguf")


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ([remote("sha256:b"), remote("sha256:a")], 1),
        ([remote("sha256:b")], None),
        ([remote()], 0),
        ([remote(size_bytes=10)], 0),
        ([remote(size_bytes=11)], None),
        ([remote(name="b"), remote(name="a-00001.gguf")], 1),
        ([remote(name="b"), remote(name="c")], None),
        ([], None),
    ],
)
def test_a_stored_file_finds_its_own(files, chosen):
    """The digest decides; without one the name and the size, and never a file that differs."""
    expected = None if chosen is None else files[chosen]

    assert counterpart(files, PIECE) == expected


def test_parts_are_read_of_that_file():
    """From where the source has it."""
    read = range_reader(
        lambda _: found(remote("sha256:a")),
        lambda file, begin, end: iter([f"{file.digest} {begin}-{end}".encode()]),
    )

    assert b"".join(read("hf:x", PIECE, 5, 10) or ()) == b"sha256:a 5-10"


def test_a_source_is_asked_once():
    """Several chunks cost one look at it."""
    with file_server() as server:
        server.files = {"/x.gguf": b"0123456789"}
        known = resolver(Web("x", Timing()))
        name = f"{server.url}/x.gguf"

        assert known(name) is known(name)
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "there", [None, found(remote("sha256:a"), member="x.gguf"), found(remote("sha256:b"))]
)
def test_what_gives_no_parts_says_so(there):
    """A person's file, a wheel, and a source with another version."""
    read = range_reader(lambda _: there, lambda *_: iter([b"never"]))

    assert read("s", PIECE, 0, 5) is None


def test_a_newer_version_at_the_source_is_seen(tmp_path):
    """By digest, by revision without one, never for a person's file or a release."""
    store, manifest = stored(tmp_path)

    def outdated(there):
        return [one.outdated for one in compared(store, look_at(lambda _: there))]

    assert outdated(found(remote("sha256:new"))) == [True]
    assert outdated(found(remote(manifest.digest), revision="r2")) == [False]
    assert outdated(found(remote(), revision="r2")) == [True]
    assert outdated(None) == outdated(found(remote(), member="m")) == []
