"""A log never takes more than twice its limit, however long its process lives."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from rbee.edge.log_file import open_log, turn_over

WRITER = """
import os, sys
from pathlib import Path
from rbee.edge.log_file import turn_over
path = Path(sys.argv[1])
for number in range(100):
    os.write(2, b"line %03d\\n" % number)
    turn_over(path, 200)
"""


def test_a_process_goes_on_in_a_new_file(tmp_path: Path) -> None:
    """Its newest lines are there, in order, and no more than two files."""
    path = tmp_path / "queen.log"
    log = open_log(path)
    subprocess.run([sys.executable, "-c", WRITER, str(path)], stderr=log, check=True, timeout=30)
    os.close(log)

    kept = (tmp_path / "queen.log.1").read_text() + path.read_text()
    lines = [f"line {number:03}" for number in range(100)]
    assert kept.splitlines() == lines[-len(kept.splitlines()) :]
    assert len(list(tmp_path.iterdir())) == 2
    assert all(one.stat().st_size <= 220 for one in tmp_path.iterdir())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_large_one_of_before_is_turned_over_at_the_start(tmp_path: Path) -> None:
    """What was in it is kept once more."""
    path = tmp_path / "hive.log"
    path.write_text("old\n" * 100)
    os.close(open_log(path, limit_bytes=100))

    assert path.read_bytes() == b""
    assert (tmp_path / "hive.log.1").read_text() == "old\n" * 100


def test_what_is_not_its_own_log_is_left_alone(tmp_path: Path) -> None:
    """Somebody started the process with another standard error."""
    path = tmp_path / "queen.log"
    path.write_text("old\n" * 100)

    assert turn_over(path, limit_bytes=100) is False
    assert turn_over(tmp_path / "absent", limit_bytes=100) is False
    assert path.read_text() == "old\n" * 100
