"""The index: last uses, and nothing that the manifests do not survive without."""

import os
import time

from rbee.models.index import Index
from tests.models.test_store import stored


def test_a_use_is_remembered(tmp_path):
    """Never used counts as used when it was added; a use is known to a later process."""
    store, manifest = stored(tmp_path)
    path = tmp_path / "index.sqlite"
    assert Index(path).sync(store.all()).used_at == {"x": manifest.added_at}
    began = time.time()

    assert Index(path).touch("x") == ""

    assert Index(path).sync(store.all()).used_at["x"] >= began


def test_it_says_what_the_manifests_say(tmp_path):
    """A removed model is forgotten, a new one is known."""
    index = Index(tmp_path / "index.sqlite")
    store, _ = stored(tmp_path, "x")
    stored(tmp_path, "y", b"other")
    index.sync(store.all())
    store.remove("x")

    assert list(index.sync(store.all()).used_at) == ["y"]


def test_noise_costs_last_uses_and_no_model(tmp_path):
    """The damage is told once; every model is known as before."""
    store, manifest = stored(tmp_path)
    index = Index(tmp_path / "index.sqlite")
    index.sync(store.all())
    (tmp_path / "index.sqlite").write_bytes(os.urandom(9000))

    found = index.sync(store.all())

    assert found.damage and found.used_at == {"x": manifest.added_at}
    assert not index.sync(store.all()).damage


def test_without_a_place_there_is_no_index(tmp_path):
    """A disk that refuses is told as a problem, never raised."""
    store, manifest = stored(tmp_path)
    index = Index(tmp_path / "nowhere" / "index.sqlite")

    found = index.sync(store.all())

    assert found.problem and found.used_at == {"x": manifest.added_at}
    assert index.touch("x")
