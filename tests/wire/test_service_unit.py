"""The unit says what it was told to say, as systemd reads it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rbee.wire.service_unit import MARK, unit


def lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_plain_paths_stand_as_they_are() -> None:
    """And a mistake in the configuration is not tried for ever."""
    text = unit(home="/home/me/.local/share/rbee", command=["/usr/bin/python", "up"], stop_s=75)

    said = lines(text)
    assert text.startswith(MARK)
    assert said["ExecStart"] == "/usr/bin/python up"
    assert said["Environment"] == "RBEE_HOME=/home/me/.local/share/rbee"
    assert (said["KillMode"], said["RestartPreventExitStatus"]) == ("process", "2")
    assert said["TimeoutStopSec"] == "75"


def test_what_systemd_would_read_otherwise_is_escaped() -> None:
    """Spaces, specifiers, variables, quotes."""
    said = lines(unit(home='/a b/50%/"x"', command=["/p $HOME/python"], stop_s=1))

    assert said["Environment"] == '"RBEE_HOME=/a b/50%%/\\"x\\""'
    assert said["ExecStart"] == '"/p $$HOME/python"'


@pytest.mark.parametrize("home", ["/a\nExecStart=/bin/evil", "/a\tb", "/a\x00"])
def test_a_path_that_would_be_lines_of_its_own_is_refused(home: str) -> None:
    """A name of a folder starts no program."""
    with pytest.raises(ValueError, match="cannot stand in a unit"):
        unit(home=home, command=["/bin/true"], stop_s=1)


def test_systemd_itself_takes_it(tmp_path: Path) -> None:
    """Where systemd is, it finds nothing to say."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("program: systemd-analyze")
    path = tmp_path / "rbee.service"
    home = str(tmp_path / "a b 50%")
    path.write_text(unit(home=home, command=[sys.executable, "-m", "rbee.keeper", "up"], stop_s=9))

    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, str(path) in done.stderr) == (0, False), done.stderr
