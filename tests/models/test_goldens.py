"""Promises about golden answers on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbee.errors import RbeeError
from rbee.models.goldens import MOST_KEYS, Goldens
from rbee.policy.selftest import Answer

DIGEST = "sha256:" + "a" * 64
ANSWER = Answer((1, 2, 3), "a flaw")


def _page(models: Path) -> Path:
    return models / "goldens" / f"sha256-{'a' * 64}.json"


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    """By digest and key, also by another process; the last word under a key counts."""
    Goldens(tmp_path).keep(DIGEST, "k", Answer((9,)))
    Goldens(tmp_path).keep(DIGEST, "k", ANSWER)
    Goldens(tmp_path).keep(DIGEST, "other", Answer((4,)))
    assert Goldens(tmp_path).of(DIGEST) == ({"k": ANSWER, "other": Answer((4,))}, "")
    assert Goldens(tmp_path).of("sha256:b") == ({}, "")
    assert _page(tmp_path).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("noise", [b"", b"\xff\x00", b"[]", b'{"schema": 7, "goldens": {}}'])
def test_a_damaged_file_counts_as_none_and_is_told(tmp_path: Path, noise: bytes) -> None:
    """It stands in nobody's way: the next answer that is kept replaces it."""
    goldens = Goldens(tmp_path)
    goldens.keep(DIGEST, "k", ANSWER)
    _page(tmp_path).write_bytes(noise)
    found, problem = goldens.of(DIGEST)
    assert not found and _page(tmp_path).name in problem
    goldens.keep(DIGEST, "k", ANSWER)
    assert goldens.of(DIGEST) == ({"k": ANSWER}, "")


def test_they_do_not_grow_without_end(tmp_path: Path) -> None:
    """The newest keys of a digest stay."""
    goldens = Goldens(tmp_path)
    for number in range(MOST_KEYS + 3):
        goldens.keep(DIGEST, f"k{number}", ANSWER)
    found = goldens.of(DIGEST)[0]
    assert len(found) == MOST_KEYS and f"k{MOST_KEYS + 2}" in found and "k0" not in found


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """With the code of a disk."""
    (tmp_path / "goldens").write_text("in the way")
    with pytest.raises(RbeeError) as caught:
        Goldens(tmp_path).keep(DIGEST, "k", ANSWER)
    assert caught.value.code.startswith("DISK_")
