"""Any words behind `rbee`: an exit code of the table, a sentence, and never a traceback."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.keeper.help import COMMANDS
from rbee.keeper.main import main
from tests.fuzz.odd import tries

EXITS = {0, 1, 2, 124, 130, 137, 255}
STARTS = {"up"}
"""Not run here: it would start an rbee. The others dial the one that RBEE_URL names."""
ENDLESS = {"--follow", "-f", "--watch", "--fix"}
VERBS = {
    "jobs": ["list", "show", "attach", "cancel"],
    "models": ["list", "pull", "show", "rm", "verify", "import", "prune", "pin", "unpin"],
    "workers": ["list", "logs", "drain", "shutdown", "attach", "detach"],
    "engine": ["list", "use"],
    "config": ["show", "check"],
    "keys": ["create", "list", "revoke"],
}
OURS = re.compile("rbee made a mistake: (?!PROBLEM)")
"""INTERNAL; `rbee explain` shows its sentence with the fact's name."""
WORDS = st.sampled_from(
    [
        *("", "-", "--", "0", "-1", "1e9", "nan", "inf", "1_0", "٣", "5m", "99999999999", "0x1"),
        *(
            "tiny",
            "smollm2:135m",
            "hf:",
            "sha256:0",
            "../../etc",
            "/nonexistent/x",
            "~nobody",
            "é🐟",
        ),
        *("a\nb", "\x1b[31m", "\udcff", "x" * 5000, "{}", "job_" + "0" * 32, "w1", "MODEL"),
        *("http://", "http://127.0.0.1:1/v1", "http://[::1", "http://127.0.0.1:99999", "-m=-p"),
    ]
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which nothing runs, and an rbee elsewhere that is not there. What is written under
    a name goes into a folder of its own."""
    here = tmp_path / "some" / "where" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    for name in [name for name in os.environ if name.startswith("RBEE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RBEE_HOME", str(tmp_path))
    monkeypatch.setenv("RBEE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("RBEE_DIAL_FIRST_S", "0.001")
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def flags_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What its help names."""
    main([*words, "--help"])
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out))
    return sorted(named - ENDLESS)


@pytest.mark.parametrize("command", sorted({*COMMANDS} - STARTS))
def test_any_arguments(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    """Flags of the command with values that fit and that do not, in any order and number."""
    begins = [[command], *([command, verb] for verb in VERBS.get(command, ()))]
    known = {tuple(begin): flags_of(begin, capsys) for begin in begins}

    @tries(1000)
    @given(data=st.data())
    def story(data: st.DataObject) -> None:
        begin = data.draw(st.sampled_from(begins))
        flags = known[tuple(begin)] or ["--json"]
        words = data.draw(st.lists(st.sampled_from(flags) | WORDS, max_size=5))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff hi\n")))
        code = main([*begin, *words])
        said = capsys.readouterr()
        assert code in EXITS, (code, begin, words)
        assert "Traceback" not in said.err and not OURS.search(said.err + said.out), said

    story()


@pytest.mark.parametrize(
    "words",
    [
        ["\udcff"],
        ["infer", "-m", "x" * 100_000, "-p", "hi"],
        ["models", "pull", "a\nb"],
        ["explain", "é"],
        ["keys", "create", "--rpm", "-1"],
    ],
    ids=lambda words: words[0][:8].encode("unicode_escape").decode(),
)
def test_the_real_command(home: Path, words: list[str]) -> None:
    """The same as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "rbee.keeper", *words],
        capture_output=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode in EXITS - {0}
    assert done.stderr and b"Traceback" not in done.stderr, done.stderr
