"""The log of acts: in order whoever writes, bounded, for this user only."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rbee.edge.audit_file import AuditFile, user_name
from rbee.edge.home import Home
from rbee.wire.audit import Act, broken_at, read_acts


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def act(number: int) -> Act:
    return Act(float(number), "root", "serve", f"model=m{number}", "ok")


def test_many_writers_make_one_chain(home: Home) -> None:
    """The queen and any number of commands write at the same time."""
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda number: AuditFile(home).add(act(number)), range(80)))

    lines = AuditFile(home).lines()
    assert {one.at for one in read_acts(lines)} == set(map(float, range(80)))
    assert broken_at(lines) is None
    assert stat.S_IMODE(AuditFile(home).path.stat().st_mode) == 0o600


def test_it_is_bounded_and_goes_on_after_turning_over(home: Home) -> None:
    """At most twice the limit is kept, and the chain does not break there."""
    file = AuditFile(home, limit_bytes=1000)
    for number in range(50):
        file.add(act(number))

    lines = file.lines()
    assert sum(path.stat().st_size for path in home.state.iterdir()) <= 2000
    assert 4 < len(lines) < 50 and broken_at(lines) is None
    assert read_acts(lines)[-1].at == 49.0


def test_a_line_that_was_cut_off_is_told_and_gone_on_after(home: Home) -> None:
    """A full disk leaves half a line: it shows, and later acts are kept all the same."""
    file = AuditFile(home)
    file.add(act(1))
    os.truncate(file.path, file.path.stat().st_size - 20)
    file.add(act(2))

    assert broken_at(file.lines()) == 1
    assert [one.at for one in read_acts(file.lines())] == [2.0]


def test_a_home_that_is_gone_refuses(home: Home) -> None:
    """Whoever asked decides what that means."""
    home.state.rmdir()
    with pytest.raises(FileNotFoundError):
        AuditFile(home).add(act(1))
    assert AuditFile(home).lines() == []


def test_users_are_named() -> None:
    """By the system; who has no name there has a number."""
    assert user_name(0) == "root"
    assert user_name(4_000_000_000) == "user 4000000000"
