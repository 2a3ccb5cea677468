"""`up`, `down` and `doctor` with the real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from rbee.edge.home import Home
from rbee.edge.home_processes import processes_of
from tests.keeper.conftest import Rbee, environment


@pytest.fixture(autouse=True)
def nothing_is_left(home: Home) -> Iterator[None]:
    yield
    for one in processes_of(str(home.root)):
        os.kill(one.pid, signal.SIGKILL)


def queen_of(home: Home) -> int:
    return int(json.loads(home.queen_file.read_text())["pid"])


def test_up_is_ready_and_down_leaves_nothing(rbee: Rbee, home: Home) -> None:
    """`up` returns when rbee answers, a second says so, `down` ends and removes everything."""
    done = rbee("up", "--detach", "--port", "0", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["started"] is True
    again = rbee("up", "--detach")
    assert (again.returncode, "already running" in again.stderr) == (0, True)
    seen = json.loads(rbee("ps", "--json").stdout)
    assert seen["queen"]["url"] == json.loads(done.stdout)["url"]
    assert [one["state"] for one in seen["hives"]] == ["connected"]
    assert rbee("doctor").returncode == 0
    assert rbee("down").returncode == 0
    assert processes_of(str(home.root)) == []
    assert not home.admin_socket.exists()
    assert rbee("doctor").returncode == 0
    assert "not running" in rbee("down").stderr


def test_two_ups_at_once_start_one_rbee(home: Home) -> None:
    """The second waits for the first and finds it running."""
    command = [sys.executable, "-m", "rbee.keeper", "up", "--detach", "--port", "0", "--json"]
    both = [
        subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE) for _ in range(2)
    ]
    answers = [json.loads(one.communicate(timeout=60)[0]) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted(one["started"] for one in answers) == [False, True]
    assert answers[0]["pid"] == answers[1]["pid"]


def test_a_taken_port_is_told(rbee: Rbee, home: Home) -> None:
    """PORT_TAKEN with the port, and nothing stays behind."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        done = rbee("up", "--detach", "--port", port)
    assert done.returncode == 1
    assert "PORT_TAKEN" in done.stderr
    assert port in done.stderr
    assert processes_of(str(home.root)) == []


def test_down_ends_what_a_killed_rbee_left(rbee: Rbee, home: Home) -> None:
    """After SIGKILL of rbee its machine part lingers: doctor sees it, `down` ends it."""
    assert rbee("up", "--detach", "--port", "0").returncode == 0
    pid = queen_of(home)
    process = psutil.Process(pid)
    process.kill()
    process.wait(5)
    found = rbee("doctor")
    assert (found.returncode, "leftover" in found.stdout) == (1, True)
    assert rbee("down").returncode == 0
    assert processes_of(str(home.root)) == []
    assert rbee("doctor").returncode == 0


def test_doctor_fixes_what_it_names(rbee: Rbee, home: Home) -> None:
    """`--fix` ends the leftover processes, removes their files, and says each."""
    assert rbee("up", "--detach", "--port", "0").returncode == 0
    pids = [one.pid for one in processes_of(str(home.root))]
    os.kill(queen_of(home), signal.SIGKILL)
    done = rbee("doctor", "--fix")
    assert done.returncode == 0
    assert f"pid {pids[-1]}" in done.stderr
    assert processes_of(str(home.root)) == []
    assert not home.admin_socket.exists()


def test_doctor_says_one_thing_of_what_is_left_over(rbee: Rbee, home: Home) -> None:
    """A file without its process is a problem, and then nothing says that there is none."""
    home.prepare()
    home.queen_file.write_text("{}")
    done = rbee("doctor", "--json")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["is"] for one in said if one["about"] == "leftover"] == ["problem"]
    assert done.returncode == 1


def test_attached_up_stops_on_ctrl_c(home: Home) -> None:
    """Without --detach rbee lives as long as the command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rbee.keeper", "up", "--port", "0"],
        env=environment(home),
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    while b"answers on" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert processes_of(str(home.root)) == []


def test_a_start_that_fails_shows_its_last_words(rbee: Rbee, home: Home) -> None:
    """rbee ends without a coded problem: START_FAILED with the cause, and no traceback."""
    home.prepare()
    (home.run / "queen.lock").mkdir()
    done = rbee("up", "--detach", "--port", "0")
    assert done.returncode == 1
    assert "START_FAILED" in done.stderr
    assert "IsADirectoryError" in done.stderr
    assert "Traceback" not in done.stderr
    assert "File " not in done.stderr


def test_a_home_that_is_no_folder_is_told(rbee: Rbee, tmp_path) -> None:
    """RBEE_HOME on a file: the variable and the path are named, exit 2, nothing is started."""
    file = tmp_path / "file"
    file.write_text("mine")
    done = rbee("up", "--detach", env={"RBEE_HOME": str(file)})
    assert (done.returncode, "CONFIG_INVALID" in done.stderr) == (2, True), done.stderr
    assert "RBEE_HOME" in done.stderr and str(file) in done.stderr
    assert file.read_text() == "mine"
