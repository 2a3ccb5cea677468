"""Manifests: the truth of the store, readable by every later rbee."""

import msgspec
import pytest

from rbee.models.gguf import Facts
from rbee.models.manifest import Piece, decode, digest_of_all

FACTS = Facts(3, "llama", "x", 1, "Q4_1", 2048, 8, 1)
FIRST = {
    "schema": 1,
    "name": "x",
    "ref": "file:///x.gguf",
    "source": "file:///x.gguf",
    "digest": "sha256:ab",
    "size_bytes": 5,
    "added_at": 1.0,
    "identity": {"inode": 1, "size_bytes": 5, "mtime_ns": 1, "ctime_ns": 1},
    "facts": msgspec.to_builtins(FACTS),
}


def test_a_manifest_of_the_first_schema_is_read():
    """An update of rbee loses no model."""
    manifest = decode(msgspec.json.encode(FIRST))

    assert (manifest.name, manifest.sources) == ("x", ("file:///x.gguf",))
    assert not manifest.digest_known
    assert manifest.files[0].identity == FIRST["identity"]


def test_a_manifest_of_a_newer_rbee_is_not_guessed_at():
    """What it means is not known here: it is passed over and left alone."""
    with pytest.raises(msgspec.DecodeError, match="schema 99"):
        decode(msgspec.json.encode({**FIRST, "schema": 99}))


def test_several_files_have_one_digest_that_depends_on_each():
    """Another file, or another order, is another model."""
    one, other = Piece("sha256:aa", 1, {}), Piece("sha256:bb", 1, {})

    assert digest_of_all([one]) == "sha256:aa"
    assert digest_of_all([one, other]) != digest_of_all([other, one])
