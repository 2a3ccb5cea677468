"""Newer versions are seen by their digest, and by their revision where no digest is known."""

import threading

import pytest

from rbee.errors import RbeeError
from rbee.models.catalogue import entries
from rbee.models.outdated import Now, compared, in_catalogue
from tests.models.test_store import stored


@pytest.mark.parametrize(
    ("now", "outdated"),
    [
        (Now("sha256:other"), True),
        (Now(revision="r2"), True),
        (Now(revision=""), False),
        (Now(), False),
    ],
)
def test_a_digest_decides(tmp_path, now, outdated):
    """A source that says nothing makes nothing outdated."""
    store, _ = stored(tmp_path)

    (found,) = compared(store, lambda _: now)

    assert (found.name, found.outdated) == ("x", outdated)


def test_the_same_digest_under_another_revision_is_the_same_model(tmp_path):
    """A commit that did not touch the file changes nothing."""
    store, manifest = stored(tmp_path)

    (found,) = compared(store, lambda _: Now(manifest.digest, "another commit"))

    assert not found.outdated


def test_a_source_that_cannot_be_asked_is_told_and_the_others_go_on(tmp_path):
    """One per model, with the problem of the one."""
    store, _ = stored(tmp_path, "x")
    stored(tmp_path, "y", b"other")

    def look(manifest):
        if manifest.name == "x":
            raise RbeeError("SOURCE_UNREACHABLE", model="x", source="s", problem="no route")
        return Now("sha256:other")

    first, second = compared(store, look)

    assert first.problem.code == "SOURCE_UNREACHABLE" and not first.outdated
    assert second.outdated


def test_sources_are_asked_side_by_side(tmp_path):
    """One that is slow, or gone, keeps nobody waiting but itself; the order is the store's."""
    store, _ = stored(tmp_path, "x")
    stored(tmp_path, "y", b"other")
    both = threading.Barrier(2)

    def look(manifest):
        both.wait(10)
        return Now("sha256:other")

    assert [one.name for one in compared(store, look)] == ["x", "y"]


def test_a_name_of_the_catalogue_is_held_against_it(tmp_path):
    """A model that was pulled by its name is compared with what this rbee would pull now."""
    name, entry = next(iter(entries().items()))
    store, manifest = stored(tmp_path, name)
    store.put(
        name=name,
        ref=name,
        sources=manifest.sources,
        files=manifest.files,
        facts=manifest.facts,
        digest_known=True,
    )
    stored(tmp_path, "mine", b"a file of mine")

    (found,) = compared(store, in_catalogue)

    assert found.outdated and found.now_digest == entry.digest
