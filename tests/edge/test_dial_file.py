"""What commands know of distant addresses."""

import threading
from pathlib import Path

import pytest

from rbee.edge.dial_file import DialFile
from rbee.edge.home import Home
from rbee.policy.dial_breaker import CLEAR, Line


def known(file: DialFile, address: str) -> Line:
    return file.change(address, lambda line: (line, line))


def put(file: DialFile, address: str, line: Line) -> None:
    file.change(address, lambda _: (None, line))


def test_addresses_are_told_apart(tmp_path: Path) -> None:
    """What is known of one says nothing of another; `clear` forgets all."""
    file = DialFile(Home(tmp_path))
    put(file, "a", Line(3, 7.5))
    again = DialFile(Home(tmp_path))
    assert (known(again, "a"), known(again, "b")) == (Line(3, 7.5), CLEAR)
    put(again, "a", CLEAR)
    put(again, "b", Line(1, 2.0))
    assert (known(file, "a"), known(file, "b")) == (CLEAR, Line(1, 2.0))
    file.clear()
    assert known(file, "b") == CLEAR


def test_looking_makes_no_files(tmp_path: Path) -> None:
    """Only a failure is written down."""
    known(DialFile(Home(tmp_path / "home")), "a")
    assert not (tmp_path / "home").exists()


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """The oldest addresses go first."""
    file = DialFile(Home(tmp_path))
    for number in range(80):
        put(file, str(number), Line(1, 1.0))
    assert (known(file, "0"), known(file, "79")) == (CLEAR, Line(1, 1.0))


DAMAGED = ["", "[]", '{"a": 5}', '{"a": ["x", 1]}', '{"a": []}', "\xff"]
BEYOND = ['{"a": [1e999, 1]}', "[" * 100_000]


@pytest.mark.parametrize("text", [*DAMAGED, *BEYOND], ids=lambda text: text[:12])
def test_a_damaged_file_knows_nothing(tmp_path: Path, text: str) -> None:
    """No command fails for it, and the next failure replaces it."""
    file = DialFile(Home(tmp_path))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "dial.json").write_text(text, "latin-1")
    assert known(file, "a") == CLEAR
    put(file, "a", Line(2, 1.0))
    assert known(file, "a") == Line(2, 1.0)


def test_a_home_that_cannot_be_written_is_borne(tmp_path: Path) -> None:
    """The command then does without what others knew."""
    (tmp_path / "state").write_text("a file where the folder should be")
    file = DialFile(Home(tmp_path))
    put(file, "a", Line(2, 1.0))
    assert known(file, "a") == CLEAR


def test_two_at_once_lose_no_failure(tmp_path: Path) -> None:
    """Each change sees the one before it."""
    file = DialFile(Home(tmp_path))
    put(file, "a", Line(1, 0.0))

    def fail() -> None:
        for _ in range(50):
            file.change("a", lambda line: (None, Line(line.failures + 1, 1.0)))

    threads = [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert known(file, "a").failures == 201
