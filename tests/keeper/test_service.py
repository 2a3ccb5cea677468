"""`rbee service`, the real command, with a systemctl that only writes down what it is told."""

import json
from pathlib import Path

import pytest

from rbee.edge.home import Home
from tests.keeper.conftest import Rbee, Scripted

SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$0.said"
case "$*" in *"$SYSTEMCTL_REFUSES"*) echo "no $2 today" >&2; exit 1;; esac
"""


class Systemd:
    """Where units lie, and what systemctl was told."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "bin" / "systemctl"
        self.program.parent.mkdir()
        self.program.write_text(SYSTEMCTL)
        self.program.chmod(0o755)
        self.units = folder / "config" / "systemd" / "user"
        self.env = {
            "PATH": f"{self.program.parent}:/usr/bin:/bin",
            "XDG_CONFIG_HOME": str(folder / "config"),
            "SYSTEMCTL_REFUSES": "nothing at all",
        }

    @property
    def said(self) -> list[str]:
        path = self.program.with_name("systemctl.said")
        return path.read_text().splitlines() if path.exists() else []

    def unit(self) -> Path:
        (found,) = self.units.iterdir()
        return found


@pytest.fixture
def systemd(tmp_path: Path) -> Systemd:
    return Systemd(tmp_path)


def test_it_is_installed_and_removed(rbee: Rbee, home: Home, systemd: Systemd) -> None:
    """Enabled and started; removed, it is stopped and nothing is left."""
    done = rbee("service", "install", env=systemd.env)
    assert done.returncode == 0, done.stderr
    assert f"RBEE_HOME={home.root}" in systemd.unit().read_text()
    name = systemd.unit().name
    assert systemd.said[-2:] == ["--user daemon-reload", f"--user enable --now {name}"]
    shown = json.loads(rbee("service", "show", "--json", env=systemd.env).stdout)
    assert (shown["installed"], shown["unit"]) == (True, systemd.unit().read_text())

    assert rbee("service", "remove", env=systemd.env).returncode == 0
    assert not list(systemd.units.iterdir())
    assert systemd.said[-2:] == [f"--user disable --now {name}", "--user daemon-reload"]
    again = json.loads(rbee("service", "remove", "--json", env=systemd.env).stdout)
    assert again["removed"] is False


def test_an_rbee_that_runs_is_not_started_twice(
    rbee: Rbee, scripted: Scripted, systemd: Systemd
) -> None:
    """The service is enabled; who wants it to look after rbee now is told how."""
    done = rbee("service", "install", env={**systemd.env, "RBEE_THREADS": "1"})
    assert done.returncode == 0 and "systemctl --user start" in done.stderr
    assert systemd.said[-1] == f"--user enable {systemd.unit().name}"
    assert "RBEE_THREADS of this shell does not hold there" in done.stderr


@pytest.mark.parametrize("before", ["", "an older unit"])
def test_what_systemd_refuses_leaves_all_as_it_was(
    rbee: Rbee, systemd: Systemd, before: str
) -> None:
    """Its own words are told, and no half of it stays."""
    if before:
        rbee("service", "install", env=systemd.env)
        systemd.unit().write_text(systemd.unit().read_text() + f"# {before}\n")
    done = rbee("service", "install", "--json", env={**systemd.env, "SYSTEMCTL_REFUSES": "enable"})
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"]) == (1, "SERVICE_UNAVAILABLE")
    assert "no enable today" in error["message"]
    left = [path.read_text() for path in systemd.units.iterdir()]
    assert [before in text for text in left] == ([True] if before else [])


def test_a_unit_of_somebody_else_is_left_alone(rbee: Rbee, systemd: Systemd) -> None:
    """It is neither written over nor removed."""
    rbee("service", "install", env=systemd.env)
    systemd.unit().write_text("[Service]\nExecStart=/bin/mine\n")
    done = rbee("service", "install", env=systemd.env)
    assert (done.returncode, "was not written by rbee" in done.stderr) == (1, True)
    assert rbee("service", "remove", env=systemd.env).returncode == 0
    assert "mine" in systemd.unit().read_text()


def test_without_systemd_it_is_told(rbee: Rbee, home: Home, tmp_path: Path) -> None:
    """And the unit can be seen all the same."""
    env = {"PATH": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    done = rbee("service", "install", env=env)
    assert (done.returncode, "this machine has no systemd" in done.stderr) == (1, True)
    assert not (tmp_path / "config").exists()
    done = rbee("service", "show", env=env)
    assert (done.returncode, "rbee.keeper up" in done.stdout) == (0, True)
