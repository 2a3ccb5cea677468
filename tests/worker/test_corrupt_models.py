"""Promises about damaged files: by digest all are found, without one the record says which."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbee.edge.disk import identity
from rbee.errors import RbeeError
from rbee.models.gguf import read_facts
from rbee.models.hashing import hash_file
from rbee.models.store import Store, piece_of
from tests.corrupt_models import (
    ENGINE,
    NOTHING,
    RECORD,
    SELFTEST,
    STRUCTURE,
    by_loading,
    by_structure,
)
from tests.damaged_gguf import DAMAGES

GUARDS = tomllib.loads(RECORD.read_text())
LOADED = {"token_twice": ENGINE, "bits_1000": SELFTEST, "norm_1e30": SELFTEST, "bit_1": NOTHING}
"""Tried on a real worker in each run; `python -m tests.corrupt_models` tries all."""


@pytest.fixture(scope="module")
def whole(model_file: Path) -> bytes:
    return model_file.read_bytes()


@pytest.fixture(scope="module")
def store(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that knows the real model and its digest."""
    found = Store(tmp_path_factory.mktemp("models"))
    found.prepare()
    verified = identity(model_file)
    hashed = hash_file(model_file, verified.size_bytes, lambda *_: None)
    found.put(
        name="m",
        ref="m:1",
        sources=["https://example.org/m.gguf"],
        files=[piece_of(hashed, verified)],
        facts=read_facts(model_file, model="m"),
        digest_known=True,
    )
    yield found
    for blob in found.blobs.iterdir():
        blob.unlink()


def test_the_record_is_whole() -> None:
    """Every case has its guard, and at least the 39 of the lab are there."""
    assert set(GUARDS) == set(DAMAGES) and len(GUARDS) >= 39
    assert set(GUARDS.values()) == {STRUCTURE, ENGINE, SELFTEST, NOTHING}
    assert Counter(GUARDS.values())[NOTHING] == 6
    assert LOADED.items() <= GUARDS.items()


@pytest.mark.parametrize("case", DAMAGES)
def test_a_known_digest_finds_every_damage(case: str, store: Store, whole: bytes) -> None:
    """Also those that an engine loads and serves: MODEL_CORRUPTED, before any engine sees it. And
    what the structure shows is refused without a digest."""
    manifest = store.get("m")
    assert manifest is not None
    blob = store.blob(manifest.digest)
    blob.write_bytes(DAMAGES[case](whole))
    assert store.needs_hash(manifest)
    with pytest.raises(RbeeError) as caught:
        store.verify(manifest, lambda *_: None)
    assert caught.value.code == "MODEL_CORRUPTED"
    assert (by_structure(blob) == STRUCTURE) == (GUARDS[case] == STRUCTURE)


@pytest.mark.parametrize("case", LOADED)
def test_the_record_is_true(case: str, whole: bytes, tmp_path: Path) -> None:
    """A real load ends as the record says."""
    path = tmp_path / "m.gguf"
    path.write_bytes(DAMAGES[case](whole))
    assert by_loading(path, tmp_path / "worker") == LOADED[case]
