"""Small files that are replaced whole or not at all."""

import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbee.edge.private_file import MOST_BYTES, read_private, read_small, write_private


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


def test_a_secret_that_others_may_read_is_none(tmp_path: Path) -> None:
    """0600 is read up to its bound; anything wider is refused."""
    path = tmp_path / "key"
    path.write_bytes(b"secret" * 10)
    path.chmod(0o600)
    assert read_private(path, 6) == b"secret"
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(PermissionError, match="others may read it"):
            read_private(path, 6)


def test_a_pipe_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    """Nobody writes to it, and nobody waits for it."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert read_private(tmp_path / "pipe", 6) == b""


def test_what_is_no_small_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe would wait for its writer, a device has no end; the largest that may be is read."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "f").write_bytes(b"n" * MOST_BYTES)
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError):
            read_small(path)
    assert len(read_small(tmp_path / "f")) == MOST_BYTES
    with (tmp_path / "f").open("ab") as file:
        file.write(b"n")
    with pytest.raises(OSError, match="larger than 4 MiB"):
        read_small(tmp_path / "f")
