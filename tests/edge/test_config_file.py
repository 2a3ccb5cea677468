"""rbee.toml as it lies on a disk."""

import os
from pathlib import Path

import pytest

from rbee.edge.config_file import load_settings
from rbee.edge.home import Home
from rbee.errors import RbeeError


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("RBEE_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_a_mark_of_the_encoding_is_no_text(tmp_path, start: bytes) -> None:
    """Editors on Windows write one; the file means the same."""
    home = Home(tmp_path)
    home.config.write_bytes(start + b'listen = "127.0.0.1:1234"\r\n')

    assert load_settings(home).port == 1234


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff", "not UTF-8 text (byte 0)"), (b"x = ", "not TOML"), (b"#" * (5 << 20), "4 MiB")],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, content: bytes, words: str) -> None:
    """CONFIG_INVALID, saying what it is instead."""
    home = Home(tmp_path)
    home.config.write_bytes(content)
    with pytest.raises(RbeeError) as caught:
        load_settings(home)

    assert caught.value.code == "CONFIG_INVALID" and words in caught.value.report.message


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, sparse, lambda path: path.symlink_to("/dev/zero")],
    ids=["folder", "pipe", "1 TiB", "device"],
)
def test_what_is_no_small_file_is_told_at_once(tmp_path, make) -> None:
    """What cannot be read is no missing file; a pipe would wait for its writer for ever."""
    home = Home(tmp_path)
    make(home.config)
    with pytest.raises(RbeeError) as caught:
        load_settings(home)

    assert caught.value.code == "CONFIG_INVALID"
    assert "cannot be read" in caught.value.report.message
