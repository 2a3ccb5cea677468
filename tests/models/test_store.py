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


def untroubled(error: RbeeError, then: str) -> None:
    """Nothing may go wrong on the way."""
    raise AssertionError(f"{error} ({then})")


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


def test_an_update_keeps_the_old_file_until_nobody_uses_it(tmp_path):
    """The name stands for the new file at once; the old one goes when it is not in use."""
    store, old = stored(tmp_path, data=b"old")
    store.pin("x", pinned=True)
    _, new = stored(tmp_path, data=b"new")
    assert new.superseded == (old.digest,) and new.pinned
    assert store.collect_superseded({new.ref}) == []
    assert store.blob(old.digest).exists()

    assert store.collect_superseded(()) == [old.digest]

    assert not store.blob(old.digest).exists() and store.blob(new.digest).exists()
    assert store.get("x").superseded == ()


def test_going_back_to_an_older_version_keeps_its_file(tmp_path):
    """Old, new, old again: the file that is named now is not among those that go."""
    store, old = stored(tmp_path, data=b"old")
    _, new = stored(tmp_path, data=b"new")
    stored(tmp_path, data=b"old")

    assert store.collect_superseded(()) == [new.digest]
    assert store.blob(old.digest).exists()


def test_a_manifest_that_cannot_be_read_keeps_its_file(tmp_path):
    """Also against the removal of another model of the same file."""
    store, manifest = stored(tmp_path, "x")
    stored(tmp_path, "y")
    path = tmp_path / "manifests" / "y.json"
    path.write_bytes(path.read_bytes()[:-20])

    store.remove("x")

    assert store.blob(manifest.digest).exists() and store.all() == []


def as_schema_one(store, manifest):
    import msgspec

    facts = msgspec.json.encode(manifest.facts).decode()
    text = (
        f'{{"schema": 1, "name": "x", "ref": "{manifest.ref}", "source": "pypi:a", "digest":'
        f' "{manifest.digest}", "size_bytes": 5, "added_at": 1.0, "identity": {{}},'
        f' "facts": {facts}}}'
    )
    path = store.root / "manifests" / "x.json"
    path.write_text(text)
    return path, text


def test_an_earlier_shape_is_kept_until_the_next_start(tmp_path):
    """The first write keeps it beside the new one; a start that reads the new one removes it."""
    store, manifest = stored(tmp_path)
    path, text = as_schema_one(store, manifest)
    store.verify(store.get("x"), quiet)
    kept = path.with_name("x.json.v1")
    assert kept.read_text() == text and store.get("x").schema == 2

    store.settle()

    assert not kept.exists() and store.get("x").digest == manifest.digest


def test_an_earlier_shape_comes_back_if_the_new_one_is_damaged(tmp_path):
    """Between the two there is always one that can be read."""
    store, manifest = stored(tmp_path)
    path, text = as_schema_one(store, manifest)
    store.verify(store.get("x"), quiet)
    path.write_bytes(b"\0\0")

    store.settle()

    assert path.read_text() == text and store.get("x").digest == manifest.digest


@pytest.mark.parametrize("left", [None, b"", b"{", b"\xff" * 40])
def test_a_lost_manifest_comes_back_from_its_copy(tmp_path, left):
    """A file that only its manifest named has its name again; rubbish is kept beside."""
    store, manifest = stored(tmp_path)
    path = store.manifest_path("x")
    if left is None:
        path.unlink()
    else:
        path.write_bytes(left)

    assert store.get("x") is None and store.mend() == ["x"]

    assert store.get("x") == manifest and store.mend() == []
    damaged = path.with_name("x.json.damaged")
    assert (damaged.read_bytes() if damaged.exists() else None) == left


def test_what_was_removed_does_not_come_back(tmp_path):
    """Nor what has lost its file, nor what only a newer rbee can read."""
    store, manifest = stored(tmp_path)
    store.remove("x")
    assert store.mend() == [] and list((tmp_path / "copies").iterdir()) == []

    store, manifest = stored(tmp_path)
    store.manifest_path("x").write_bytes(b'{"schema":99}')
    assert store.mend() == []

    store.manifest_path("x").unlink()
    store.blob(manifest.digest).unlink()
    assert store.mend() == []


def test_a_model_of_an_earlier_rbee_gets_its_copy(tmp_path):
    """Copies were not made always."""
    store, _ = stored(tmp_path)
    (tmp_path / "copies" / "x.json").unlink()
    assert store.mend() == []
    store.manifest_path("x").unlink()

    assert store.mend() == ["x"]
