"""A database that may be lost: damage is seen when it is opened, and only damage moves it aside."""

import os
import sqlite3

import pytest

from rbee.edge.database import opened

SCHEMA = "CREATE TABLE IF NOT EXISTS kept (word TEXT PRIMARY KEY) STRICT"


def keep(path, word):
    with opened(path, SCHEMA, 1) as database:
        database.connection.execute("INSERT OR REPLACE INTO kept VALUES (?)", (word,))
        return database.problem


def words(path):
    with opened(path, SCHEMA, 1) as database:
        return [word for (word,) in database.connection.execute("SELECT word FROM kept")]


def test_what_was_kept_is_there(tmp_path):
    """A later use sees what an earlier one wrote."""
    assert keep(tmp_path / "a.sqlite", "one") == ""

    assert words(tmp_path / "a.sqlite") == ["one"]


def noise(path):
    path.write_bytes(os.urandom(8192))


def half(path):
    os.truncate(path, path.stat().st_size // 2)


def rotten_page(path):
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 2000)


@pytest.mark.parametrize("damage", [noise, half, rotten_page])
def test_a_damaged_one_is_moved_aside(tmp_path, damage):
    """It is told why, the damaged file is kept once, and the new one works."""
    path = tmp_path / "a.sqlite"
    keep(path, "one")
    damage(path)

    assert keep(path, "new") != ""
    assert words(path) == ["new"]
    assert (tmp_path / "a.sqlite.damaged").exists()


def test_another_version_is_made_anew(tmp_path):
    """A database of a newer rbee is not guessed at."""
    keep(tmp_path / "a.sqlite", "one")
    with opened(tmp_path / "a.sqlite", SCHEMA, 2) as database:
        assert "version" in database.problem


def test_a_refusal_of_the_disk_is_no_damage(tmp_path):
    """What cannot be opened is told as it is, and nothing is moved."""
    with pytest.raises(sqlite3.Error), opened(tmp_path / "no" / "a.sqlite", SCHEMA, 1):
        raise AssertionError("it was opened")
    folder = tmp_path / "a.sqlite"
    folder.mkdir()
    with pytest.raises(sqlite3.Error), opened(folder, SCHEMA, 1):
        raise AssertionError("it was opened")

    assert folder.is_dir() and not (tmp_path / "a.sqlite.damaged").exists()
