"""Putting back is one step, whenever it is cut short."""

import os
import stat
import sys
from pathlib import Path

import msgspec
import pytest

from rbee.edge.backup_files import check, collect, go_on, joined, put_back, read_from, write_to
from rbee.edge.config_file import load_settings
from rbee.edge.home import Home
from rbee.errors import RbeeError
from rbee.settings import Settings
from rbee.wire.backup import Backup
from rbee.wire.keys import KeyRecord

FILES = {
    "rbee.toml": b'listen = "127.0.0.1:7999"\n',
    "state/keys.json": msgspec.json.encode([KeyRecord("aaaaaaaa", "0" * 64)]),
    "state/wishes.json": b"[]",
    "manifests/tiny.json": b"{}",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def kept(home: Home) -> dict[str, bytes]:
    return collect(home, load_settings(home))


def test_what_is_kept_comes_back_on_another_disk(home: Home, tmp_path: Path) -> None:
    """Each file in its place, for this user only; nothing else is written."""
    put_back(home, FILES)
    file = tmp_path / "b"
    write_to(file, kept(home))
    other = Home(tmp_path / "other")
    other.prepare()

    put_back(other, read_from(file).files)

    assert kept(other) == FILES
    written = [path for path in other.root.rglob("*") if path.is_file()]
    assert len(written) == len(FILES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (*written, file)} == {0o600}


def test_manifests_go_where_the_configuration_put_back_has_the_store(
    home: Home, tmp_path: Path
) -> None:
    """The configuration is put back first, and says where models lie."""
    toml = f'models_dir = "{tmp_path / "store"}"\n'.encode()

    put_back(home, {**FILES, "rbee.toml": toml})

    assert (tmp_path / "store" / "manifests" / "tiny.json").read_bytes() == b"{}"


@pytest.mark.parametrize("files", range(len(FILES) + 1))
def test_a_kill_at_any_file_is_gone_on_from(home: Home, files: int) -> None:
    """A process that ends after so many files leaves the rest to the next one."""
    pid = os.fork()
    if pid == 0:
        left = files

        def dying(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event == "os.rename" and str(arguments[1]) != str(home.restore_pending):
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.addaudithook(dying)
        put_back(home, FILES)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (9 if files < len(FILES) else 0)

    assert go_on(home) is (files < len(FILES))

    assert kept(home) == FILES
    assert not home.restore_pending.exists() and go_on(home) is False


def test_a_key_that_was_revoked_since_stays_revoked() -> None:
    """An old backup opens nothing that was shut; keys that came since stay."""
    now = [KeyRecord("aaaaaaaa", "0" * 64, revoked_at=5.0), KeyRecord("bbbbbbbb", "1" * 64)]

    files = joined({"state/keys.json": msgspec.json.encode(now)}, Backup(FILES, "0.1.0", 1.0))

    found = msgspec.json.decode(files["state/keys.json"], type=list[KeyRecord])
    assert found == now


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state/keys.json", b"{"),
        ("state/wishes.json", b"[1]"),
        ("state/attached.json", b"[{}]"),
        ("rbee.toml", b"nonsense = 1"),
        ("rbee.toml", b"\xff\xfe"),
    ],
)
def test_what_rbee_could_not_run_with_is_refused(home: Home, name: str, content: bytes) -> None:
    """Before anything is changed."""
    with pytest.raises(RbeeError) as caught:
        check(home, Backup({**FILES, name: content}, "0.1.0", 1.0))

    assert caught.value.code == "BACKUP_INVALID"
    assert name.rpartition("/")[2] in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, a pipe that nobody writes to, nothing at all: at once."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        with pytest.raises(RbeeError) as caught:
            read_from(path)
        assert caught.value.code == "BACKUP_INVALID"


def test_a_disk_that_refuses_changes_nothing(home: Home) -> None:
    """Nothing is begun that cannot be written down whole."""
    home.state.rmdir()
    home.state.write_bytes(b"in the way")
    with pytest.raises(RbeeError) as caught:
        put_back(home, FILES)

    assert caught.value.code == "DISK_IO"
    assert collect(home, Settings(str(home.root))) == {}
