"""The command line as a whole: help, usage, and that nothing ever shows a traceback."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rbee.edge.home import Home
from rbee.keeper.help import COMMANDS, HELP
from tests.keeper.conftest import Rbee, Scripted, environment


def test_help_is_printed_for_no_command(rbee: Rbee) -> None:
    """`rbee`, `rbee --help` and `rbee help` say the same and succeed."""
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        done = rbee(*arguments)
        assert (done.returncode, done.stdout) == (0, HELP)


def test_help_names_every_command() -> None:
    """A command that help does not name is not found."""
    for command in COMMANDS:
        assert command in HELP


def test_help_takes_at_most_three_times_the_bare_interpreter(home: Home) -> None:
    """Help is printed before anything else is imported. Both are timed one after the other, since
    what else the machine does changes meanwhile."""

    def took(*arguments: str) -> float:
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments],
            stdout=subprocess.DEVNULL,
            env=environment(home),
            check=True,
        )
        return time.perf_counter() - begun

    pairs = [(took("-m", "rbee.keeper", "--help"), took("-c", "pass")) for _ in range(15)]
    assert statistics.median(help_s / bare_s for help_s, bare_s in pairs) <= 3


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(rbee: Rbee, command: str) -> None:
    """`rbee COMMAND --help` succeeds without rbee running, and makes no files."""
    done = rbee(command, "--help")
    assert done.returncode == 0
    assert f"rbee {command}" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["infr"], "nearest: infer"),
        (["models"], "list | pull | show | rm"),
        (["models", "pul"], "nearest: pull"),
        (["models", "pull"], "NAME"),
        (["models", "verify"], "--all"),
        (["models", "verify", "x", "--all"], "--all"),
        (["models", "prune"], "--keep"),
        (["models", "prune", "--keep", "much"], "amount"),
        (["models", "import"], "ollama"),
        (["ps", "--jsn"], "nearest: --json"),
        (["infer", "-p"], "expected one argument"),
        (["infer", "-p", "x", "--max-tokens", "-1"], "--max-tokens"),
        (["infer", "-p", "x", "--timeout", "soon"], "--timeout"),
        (["infer", "-p", " "], "empty"),
        (["up", "--port", "70000"], "--port"),
        (["stop"], "--all"),
        (["stop", "a", "--all"], "--all"),
        (["ps", "--url", "ftp://x"], "http://127.0.0.1:7833"),
        (["explain", "QUEUE_FUL"], "QUEUE_FULL"),
        (["\ud800" if sys.platform == "darwin" else "\x1b[31m"], "no command"),
    ],
)
def test_usage_errors_end_with_2(rbee: Rbee, arguments: list[str], says: str) -> None:
    """What was wrong, the nearest word, a code; no traceback."""
    done = rbee(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["ps"],
        ["models", "list"],
        ["models", "show", "x"],
        ["models", "rm", "x"],
        ["models", "verify", "--all"],
        ["models", "prune", "--keep", "1GiB"],
        ["models", "pin", "x"],
        ["models", "import", "ollama"],
        ["workers", "list"],
        ["workers", "logs", "x"],
        ["workers", "shutdown", "x"],
        ["stop", "--all"],
        ["events", "--follow"],
    ],
)
def test_without_rbee_the_exit_code_is_255(rbee: Rbee, home: Home, arguments: list[str]) -> None:
    """Commands that need a running rbee say so, start nothing and make no files."""
    done = rbee(*arguments)
    assert done.returncode == 255
    assert "NOT_RUNNING" in done.stderr
    assert "rbee up" in done.stderr
    assert not home.root.exists()


def test_errors_are_json_if_asked(rbee: Rbee) -> None:
    """`--json` gives the same facts as an object on stderr."""
    import json

    done = rbee("ps", "--json")
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["exit"], done.returncode) == ("NOT_RUNNING", 255, 255)


def test_a_mistake_of_ours_is_no_traceback(rbee: Rbee, home: Home, scripted: Scripted) -> None:
    """An exception that nobody foresaw is INTERNAL; its traceback goes to a log."""
    scripted.say("/rbee/ps", ["not what was promised"])
    done = rbee("ps")
    assert done.returncode == 1
    assert "INTERNAL" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in (home.logs / "keeper.log").read_text()


def test_a_reader_that_leaves_is_no_error_message(home: Home) -> None:
    """`rbee explain | head -1` prints its line and nothing else."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rbee.keeper", "explain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(home),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(10)


@pytest.mark.parametrize("arguments", ["--help", "explain", "config show --json", "explain X"])
def test_closed_streams_are_no_mistake(home: Home, arguments: str) -> None:
    """Cron and daemons close what they do not read: the command works all the same."""
    command = f"{sys.executable} -m rbee.keeper {arguments}"
    expected = 2 if arguments.endswith("X") else 0
    for closed in (">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f"{command} {closed}"],
            capture_output=True,
            env=environment(home),
            check=False,
        )
        assert done.returncode == expected, closed
        assert b"Traceback" not in done.stderr and b"INTERNAL" not in done.stderr


@pytest.mark.parametrize("arguments", ["--help", "explain", "config show --json"])
def test_output_that_a_disk_refuses_is_told(home: Home, arguments: str) -> None:
    """`rbee … > FILE` on a full disk: DISK_IO, no traceback, no mistake of ours."""
    command = f"{sys.executable} -m rbee.keeper {arguments} >/dev/full"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, env=environment(home), check=False
    )
    assert done.returncode == 1
    assert b"DISK_IO" in done.stderr and b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr


def test_bad_configuration_stops_a_start(rbee: Rbee, home: Home) -> None:
    """A slip in rbee.toml is told with the nearest key, and nothing is started."""
    home.root.mkdir()
    (home.root / "rbee.toml").write_text("[limits]\nqueu = 1\n")
    done = rbee("up", "--detach", "--port", "0")
    assert done.returncode == 2
    assert "nearest: queue" in done.stderr
    assert not home.queen_file.exists()


def test_an_open_address_is_refused(rbee: Rbee, home: Home) -> None:
    """Without keys rbee listens on this machine only."""
    done = rbee("up", "--detach", "--host", "0.0.0.0")
    assert (done.returncode, "BIND_REFUSED" in done.stderr) == (2, True)


def test_screens_speak_of_rbee_not_of_bees() -> None:
    """Queen, hive and keeper are words of the code."""
    import re

    import rbee

    folder = Path(rbee.__file__).parent
    words = re.compile(r"\b(queen|hive|keeper)s?\b")
    for path in (*(folder / "errors").rglob("*.py"), folder / "keeper" / "help.py"):
        for line in path.read_text().splitlines():
            if re.match(r"\s*(says|do|means)=", line) or path.name == "help.py":
                shown = re.sub(r"keeper/commands", "", line)
                assert not words.search(shown), f"{path.name}: {line}"


def test_words_that_are_no_text_are_refused(home: Home) -> None:
    """A file's name may be any bytes; neither JSON nor a screen can carry them. (fuzz)"""
    done = subprocess.run(
        [sys.executable, "-m", "rbee.keeper", "workers", "logs", b"w\xff"],
        capture_output=True,
        env=environment(home),
        timeout=60,
        check=False,
    )

    assert done.returncode == 2 and b"word 3 behind rbee is no UTF-8" in done.stderr
