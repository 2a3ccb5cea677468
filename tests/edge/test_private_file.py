"""Small files that are replaced whole or not at all."""

import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbee.edge.private_file import write_private


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    """A file of this process takes so many bytes and refuses the next, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """0600, whatever the umask lets through."""
    write_private(tmp_path / "f", b"x")

    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_a_disk_that_takes_a_part_keeps_the_old_file(tmp_path: Path) -> None:
    """Half of the new one under its name would be damage; beside it nothing is left."""
    write_private(tmp_path / "f", b"old")
    with room_for(1000), pytest.raises(OSError):
        write_private(tmp_path / "f", b"n" * 5000)

    assert (tmp_path / "f").read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["f"]
