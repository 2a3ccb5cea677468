"""The store: what it holds is what it was given, or it says so."""

from pathlib import Path

import pytest

from rbee.edge.disk import identity
from rbee.errors import RbeeError
from rbee.models.gguf import Facts
from rbee.models.hashing import Hasher
from rbee.models.manifest import Manifest
from rbee.models.store import Store, piece_of

FACTS = Facts(3, "llama", "x", 1, "Q4_1", 2048, 8, 1)


def quiet(phase: str, done_bytes: int, total_bytes: int) -> None:
    """Nobody looks at the progress."""


def stored(root: Path, name: str = "x", data: bytes = b"model") -> tuple[Store, Manifest]:
    store = Store(root)
    store.prepare()
    hasher = Hasher()
    hasher.update(data)
    hashed = hasher.end()
    store.blob(hashed.digest).write_bytes(data)
    ref = f"file:///{name}"
    piece = piece_of(hashed, identity(store.blob(hashed.digest)))
    manifest = store.put(
        name=name, ref=ref, sources=[ref], files=[piece], facts=FACTS, digest_known=False
    )
    return store, manifest


def test_a_model_is_found_by_name_and_by_ref(tmp_path):
    """What was put is there, for a later process too."""
    _, manifest = stored(tmp_path)
    later = Store(tmp_path)

    assert later.get("x") == later.get("file:///x") == manifest
    assert later.views()[0].context_train_tokens == 2048
    assert not later.needs_hash(manifest)


def test_a_file_that_changed_is_hashed_and_refused(tmp_path):
    """Another byte is another model: never served under the old name."""
    store, manifest = stored(tmp_path)
    store.blob(manifest.digest).write_bytes(b"mOdel")
    assert store.needs_hash(manifest)

    with pytest.raises(RbeeError) as caught:
        store.verify(manifest, quiet)

    assert caught.value.code == "MODEL_CORRUPTED"


def test_a_file_that_was_only_touched_is_good_again(tmp_path):
    """A new time with the old bytes is hashed once, and then known."""
    store, manifest = stored(tmp_path)
    store.blob(manifest.digest).write_bytes(b"model")

    good = store.verify(manifest, quiet)

    assert not store.needs_hash(good) and store.get("x") == good


def test_a_missing_file_is_told(tmp_path):
    """A blob that is gone is MODEL_FILE_MISSING, not a crash."""
    store, manifest = stored(tmp_path)
    store.blob(manifest.digest).unlink()

    with pytest.raises(RbeeError) as caught:
        store.needs_hash(manifest)

    assert caught.value.code == "MODEL_FILE_MISSING"


def test_a_blob_with_two_names_outlives_one_of_them(tmp_path):
    """Removing one name leaves the other's file."""
    store, _ = stored(tmp_path, "x")
    _, other = stored(tmp_path, "y")
    store.remove("x")
    assert store.blob(other.digest).exists()

    store.remove("y")

    assert not store.blob(other.digest).exists() and store.all() == []


def test_a_persons_own_file_is_never_removed(tmp_path):
    """Only the link goes."""
    own = tmp_path / "own.gguf"
    own.write_bytes(b"model")
    store, manifest = stored(tmp_path / "store")
    blob = store.blob(manifest.digest)
    blob.unlink()
    blob.symlink_to(own)
    store.remove("x")

    assert own.exists() and not blob.is_symlink()


def test_a_manifest_of_noise_is_passed_over(tmp_path):
    """One damaged file does not hide the others."""
    store, manifest = stored(tmp_path)
    (tmp_path / "manifests" / "noise.json").write_bytes(b"\x00{")
    odd = (tmp_path / "manifests" / "x.json").read_bytes().replace(b":2048", b':"many"')
    (tmp_path / "manifests" / "odd.json").write_bytes(odd)

    assert store.all() == [manifest] and len(store.views()) == 1
