"""What a partial file may be trusted for: within one run of the machine, and after its fall."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbee.models.hashing import CHUNK_BYTES
from rbee.models.partial import Partial

SIZE_BYTES = CHUNK_BYTES + (4 << 20)
WRITTEN_BYTES = CHUNK_BYTES + (1 << 20)
DIGEST = "sha256:" + "a" * 64


@contextmanager
def opened(
    folder: Path, *, size_bytes: int = SIZE_BYTES, digest: str = DIGEST
) -> Iterator[Partial]:
    partial = Partial(folder)
    partial.open(size_bytes, digest, "")
    try:
        yield partial
    finally:
        partial.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A download that was left after its first chunk was hashed, and a MiB more was written."""
    with opened(tmp_path) as partial:
        partial.write(0, memoryview(bytes(WRITTEN_BYTES)))
        partial.chunks = (7,)
        partial.save()
    return tmp_path


def test_what_was_written_outlives_the_process(folder: Path) -> None:
    """The kernel has it: the next pull goes on from the last byte."""
    with opened(folder) as partial:
        assert partial.next_byte(0) == WRITTEN_BYTES
        assert partial.chunks == (7,)


def test_after_a_fall_of_the_machine_only_hashed_chunks_are_kept(folder: Path) -> None:
    """A byte that was not on the disk may be gone, though it was counted."""
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "boot": "another"}))

    with opened(folder) as partial:
        assert partial.next_byte(0) == CHUNK_BYTES


@pytest.mark.parametrize(
    ("size_bytes", "digest"), [(SIZE_BYTES - 1, DIGEST), (SIZE_BYTES, "sha256:" + "b" * 64)]
)
def test_bytes_of_another_file_are_not_gone_on_from(
    folder: Path, size_bytes: int, digest: str
) -> None:
    """Another size or another digest: it is begun anew."""
    with opened(folder, size_bytes=size_bytes, digest=digest) as partial:
        assert (partial.next_byte(0), partial.chunks) == (0, ())


@pytest.mark.parametrize("noise", [b"", b"{", b"[]", b"\x00" * 100])
def test_a_state_that_cannot_be_read_counts_for_nothing(folder: Path, noise: bytes) -> None:
    """Whatever stands there, the bytes are fetched again."""
    (folder / "state.json").write_bytes(noise)

    with opened(folder) as partial:
        assert partial.next_byte(0) == 0
