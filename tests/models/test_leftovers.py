"""Files without a name are listed and kept; downloads that nobody resumes go after a week."""

import fcntl
import os
import time

import pytest

from rbee.errors import RbeeError
from rbee.models.leftovers import collect_partials, partials, remove_unnamed, stock, unnamed
from tests.models.test_store import stored

DAY_S = 24 * 3600.0


def test_a_lost_manifest_leaves_its_file_listed(tmp_path):
    """It is listed with its size, and removed by its digest alone."""
    store, manifest = stored(tmp_path)
    stored(tmp_path, "y", b"other")
    assert unnamed(store) == ()
    (tmp_path / "manifests" / "x.json").unlink()

    (found,) = stock(store).unnamed
    assert (found.name, found.size_bytes) == (manifest.digest, 5)
    remove_unnamed(store, manifest.digest)

    assert unnamed(store) == () and len(store.all()) == 1


def test_a_named_file_is_not_removed_by_its_digest(tmp_path):
    """Nor is a path that only looks like one."""
    store, manifest = stored(tmp_path)
    for digest in (manifest.digest, "sha256:../manifests/x.json"):
        with pytest.raises(RbeeError) as caught:
            remove_unnamed(store, digest)
        assert caught.value.code == "MODEL_NOT_FOUND"

    assert store.blob(manifest.digest).exists()


def partial(store, name, days):
    folder = store.partials / name
    folder.mkdir()
    for part in ("data", "lock"):
        (folder / part).write_bytes(b"x" * 5000)
        os.utime(folder / part, (time.time() - days * DAY_S,) * 2)
    return folder / "lock"


def test_what_nobody_resumes_goes(tmp_path):
    """After 7 days without a byte; never what somebody holds, however old."""
    store, _ = stored(tmp_path)
    partial(store, "fresh", 6)
    partial(store, "stale", 8)
    with partial(store, "held", 8).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        gone = collect_partials(store)
        left = {one.name: one.busy for one in partials(store)}

    assert [one.name for one in gone] == ["stale"]
    assert left == {"fresh": False, "held": True}
    assert collect_partials(store)[0].name == "held"
