"""Models come into the store whole, under the digest that they have, or not at all."""

import os
from pathlib import Path

import pytest

from rbee.errors import RbeeError
from rbee.models.acquire import Acquire
from rbee.models.store import Store
from rbee.settings import Settings
from tests.model_file import model_path
from tests.models.test_store import quiet, untroubled


@pytest.fixture
def acquire(tmp_path: Path) -> Acquire:
    return Acquire(Store(tmp_path / "store"), Settings(home=str(tmp_path)), quiet, untroubled)


def own_copy(path: Path) -> Path:
    path.write_bytes(model_path().read_bytes())
    return path


def test_a_file_is_linked_and_not_copied(acquire, tmp_path):
    """The person's file stays where it is; a second pull finds it as it was."""
    file = own_copy(tmp_path / "tiny.gguf")
    manifest = acquire.pull(str(file))

    assert Store(tmp_path / "store").blob(manifest.digest).resolve() == file
    assert acquire.pull(str(file)) == manifest


def test_a_link_never_vouches_for_a_file_that_changed(acquire, tmp_path):
    """Old bytes under a new name do not make the changed file of the old name good."""
    store = Store(tmp_path / "store")
    first, second = own_copy(tmp_path / "a.gguf"), tmp_path / "b.gguf"
    acquire.pull(str(first))
    os.rename(first, second)
    data = bytearray(second.read_bytes())
    data[-1] ^= 1
    first.write_bytes(data)

    manifest = acquire.pull(str(second))

    assert store.blob(manifest.digest).resolve() == second
    assert not store.needs_hash(manifest)


def test_a_damaged_file_leaves_nothing(acquire, tmp_path):
    """MODEL_CORRUPTED, and no blob and no name of it."""
    file = tmp_path / "half.gguf"
    file.write_bytes(model_path().read_bytes()[: 40 << 20])
    with pytest.raises(RbeeError) as caught:
        acquire.pull(str(file))

    assert caught.value.code == "MODEL_CORRUPTED"
    store = Store(tmp_path / "store")
    assert store.all() == [] and list(store.blobs.iterdir()) == []


def test_a_damaged_blob_gives_way_to_a_good_file(acquire, tmp_path):
    """The store's own copy rotted, the person has a whole one: that one is linked."""
    store = Store(tmp_path / "store")
    file = own_copy(tmp_path / "a.gguf")
    blob = store.blob(acquire.pull(str(file)).digest)
    blob.unlink()
    blob.write_bytes(b"rot")

    manifest = acquire.pull(str(file))

    assert blob.resolve() == file
    assert not store.needs_hash(manifest)


def test_a_file_with_a_very_long_name_is_linked(acquire, tmp_path):
    """Its public name is cut, since it becomes part of a file name itself."""
    file = own_copy(tmp_path / ("x" * 249 + ".gguf"))

    assert acquire.pull(str(file)).name == "x" * 120
