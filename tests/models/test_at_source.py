"""Stored files and those of a source are matched, or left alone where they are not the same."""

from dataclasses import dataclass, field

import pytest

from rbee.models.at_source import counterpart, look_at, range_reader
from rbee.models.manifest import Piece
from rbee.models.outdated import compared
from tests.models.test_store import stored


@dataclass(frozen=True)
class Remote:
    digest: str = ""
    size_bytes: int = 0
    name: str = ""


@dataclass(frozen=True)
class Found:
    files: tuple[Remote, ...]
    revision: str = ""
    member: str = ""


PIECE = Piece("sha256:a", 10, {}, (1,), "a-00001.gguf")


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ([Remote("sha256:b"), Remote("sha256:a")], 1),
        ([Remote("sha256:b")], None),
        ([Remote()], 0),
        ([Remote(size_bytes=10)], 0),
        ([Remote(size_bytes=11)], None),
        ([Remote(name="b"), Remote(name="a-00001.gguf")], 1),
        ([Remote(name="b"), Remote(name="c")], None),
        ([], None),
    ],
)
def test_a_stored_file_finds_its_own(files, chosen):
    """The digest decides; without one the name and the size, and never a file that differs."""
    expected = None if chosen is None else files[chosen]

    assert counterpart(files, PIECE) == expected


@dataclass
class Asked:
    """A source, and how often it was resolved."""

    found: Found | None
    times: list[str] = field(default_factory=list)

    def resolve(self, source: str) -> Found | None:
        self.times.append(source)
        return self.found


def test_parts_are_read_of_that_file_and_the_source_is_asked_once():
    """Several chunks cost one look at the source."""
    source = Asked(Found((Remote("sha256:a"),)))
    read = range_reader(source.resolve, lambda file, begin, end: iter([f"{begin}-{end}".encode()]))

    assert [b"".join(read("hf:x", PIECE, at, at + 5) or ()) for at in (0, 5)] == [b"0-5", b"5-10"]
    assert source.times == ["hf:x"]


@pytest.mark.parametrize(
    "found", [None, Found((Remote("sha256:a"),), member="x.gguf"), Found((Remote("sha256:b"),))]
)
def test_what_gives_no_parts_says_so(found):
    """A person's file, a wheel, and a source with another version."""
    read = range_reader(Asked(found).resolve, lambda *_: iter([b"never"]))

    assert read("s", PIECE, 0, 5) is None


def test_a_newer_version_at_the_source_is_seen(tmp_path):
    """By digest, by revision without one, never for a person's file or a release."""
    store, manifest = stored(tmp_path)

    def outdated(found):
        return [one.outdated for one in compared(store, look_at(lambda _: found))]

    assert outdated(Found((Remote("sha256:new"),))) == [True]
    assert outdated(Found((Remote(manifest.digest),), "r2")) == [False]
    assert outdated(Found((Remote(),), "r2")) == [True]
    assert outdated(None) == outdated(Found((Remote(),), member="m")) == []
