"""Promises about disks, with files that really refuse."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbee.edge.disk import identity, need_room, sizes_bytes, translated
from rbee.errors import RbeeError

NOBODY = 65534


@contextmanager
def without_privilege() -> Iterator[None]:
    """Root may write everywhere, so the test is somebody else for a moment."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def refused_by(path: Path) -> OSError:
    """What the kernel says when this path is opened for writing."""
    with pytest.raises(OSError) as caught, path.open("wb", buffering=0) as file:
        file.write(b"x")
    return caught.value


def test_writing_changes_the_identity(tmp_path):
    """One bit written in place is seen without reading the file."""
    path = tmp_path / "blob"
    path.write_bytes(b"a" * 100)
    before = identity(path)
    with path.open("r+b") as file:
        file.write(b"b")

    assert identity(path) != before
    assert identity(path) == identity(path)


def test_a_replaced_file_is_another(tmp_path):
    """The same bytes under the same name are another file."""
    path, other = tmp_path / "blob", tmp_path / "other"
    path.write_bytes(b"a")
    other.write_bytes(b"a")
    before = identity(path)
    other.replace(path)

    assert identity(path) != before


def test_room_is_asked_for_before_it_is_needed(tmp_path):
    """What fits with the reserve passes; what does not is told with both numbers."""
    need_room(tmp_path, 1, 0)
    with pytest.raises(RbeeError) as caught:
        need_room(tmp_path, 1 << 60, 1 << 30)

    assert caught.value.code == "DISK_FULL"
    assert caught.value.facts["needed_bytes"] == (1 << 60) + (1 << 30)
    assert 0 < caught.value.facts["free_bytes"] < 1 << 60


def test_refusals_are_told_apart(tmp_path):
    """Full, forbidden and broken are three codes; the kernel's own refusals are translated."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with without_privilege():
        forbidden = refused_by(locked / "blob")
    full = refused_by(Path("/dev/full"))
    broken = refused_by(tmp_path)

    assert translated(forbidden, "write to", locked).code == "DISK_PERMISSION"
    assert translated(full, "write to", tmp_path).code == "DISK_FULL"
    assert translated(broken, "write to", tmp_path).code == "DISK_IO"
    assert translated(OSError(errno.EROFS, "x"), "write to", tmp_path).code == "DISK_READ_ONLY"


def test_a_refusal_of_a_folder_that_is_gone_is_told_too(tmp_path):
    """The room left is asked of the nearest folder that exists."""
    error = translated(OSError(errno.ENOSPC, "full"), "write to", tmp_path / "no" / "such" / "blob")

    assert error.facts["free_bytes"] > 0


def test_files_on_a_command_line_are_weighed(tmp_path):
    """Flags, numbers and folders weigh nothing."""
    (tmp_path / "draft.gguf").write_bytes(b"x" * 7)
    words = ["-md", str(tmp_path / "draft.gguf"), "--ctx-size", "512", str(tmp_path)]
    assert sizes_bytes(words) == 7


def test_room_is_looked_for(tmp_path) -> None:
    """Without an error: neither a size beyond the disk nor a folder that is gone has it."""
    from rbee.edge.disk import has_room

    assert has_room(tmp_path, 1)
    assert not has_room(tmp_path, 1 << 60) and not has_room(tmp_path / "gone", 1)
