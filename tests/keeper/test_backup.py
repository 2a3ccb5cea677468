"""`rbee backup` and `rbee restore`, the real commands."""

import json
import os
import subprocess
from pathlib import Path

from rbee.edge.home import Home
from rbee.edge.home_processes import MARK
from rbee.wire.backup import write_backup
from tests.keeper.conftest import Rbee, Scripted
from tests.models.test_store import stored


def test_keys_come_back_and_are_told(rbee: Rbee, home: Home, tmp_path: Path) -> None:
    """On a new disk; where keys are, those that open again are named."""
    key = rbee("keys", "create").stdout.split("_")[1]
    file = str(tmp_path / "kept")
    made = rbee("backup", file, "--json")
    assert (made.returncode, json.loads(made.stdout)["keys"]) == (0, 1)
    rbee("keys", "revoke", key, "--forget")

    done = rbee("restore", file)

    assert done.returncode == 0, done.stderr
    assert f"the key {key} opens again" in done.stderr
    assert key in rbee("keys", "list").stdout
    before = home.state / "before_restore.backup"
    assert rbee("restore", str(before), "--json").returncode == 0


def test_models_whose_files_are_not_here_are_named(rbee: Rbee, home: Home, tmp_path: Path) -> None:
    """Manifests come back; what they name has to come from somewhere."""
    store, manifest = stored(home.models)
    rbee("backup", str(tmp_path / "kept"))
    store.remove("x")

    done = rbee("restore", str(tmp_path / "kept"))

    assert done.returncode == 0 and "its file /x is not here" in done.stderr
    assert store.get("x") == manifest


def test_nothing_else_is_written_over(rbee: Rbee, tmp_path: Path) -> None:
    """A slip in the name costs no file; an older backup is replaced."""
    mine = tmp_path / "mine"
    mine.write_text("a letter")
    done = rbee("backup", str(mine))
    assert (done.returncode, mine.read_text()) == (2, "a letter")
    kept = tmp_path / "kept"
    assert rbee("backup", str(kept)).returncode == 0
    assert rbee("backup", str(kept)).returncode == 0
    done = rbee("backup", str(tmp_path / "no" / "kept"))
    assert (done.returncode, "there is no folder" in done.stderr) == (2, True)


def test_what_is_no_backup_changes_nothing(rbee: Rbee, home: Home, tmp_path: Path) -> None:
    """Rubbish, somebody else's, a newer form: each with its code, and no home is made."""
    file = tmp_path / "f"
    good = write_backup({"rbee.toml": b""}, rbee="9.0.0", made_at=1.0)
    for content, code in (
        (b"\x00" * 99, "BACKUP_INVALID"),
        (good[:-5], "BACKUP_INVALID"),
        (good.replace(b'"schema":1', b'"schema":3'), "BACKUP_NEWER"),
    ):
        file.write_bytes(content)
        done = rbee("restore", str(file), "--json")
        assert json.loads(done.stderr)["error"]["code"] == code
        assert (done.returncode, home.root.exists()) == (1, False)


def test_under_a_running_rbee_nothing_is_put_back(
    rbee: Rbee, scripted: Scripted, tmp_path: Path
) -> None:
    """It holds all of that in memory, and would write it over."""
    rbee("backup", str(tmp_path / "kept"))
    done = rbee("restore", str(tmp_path / "kept"))
    assert (done.returncode, "RESTORE_RUNNING" in done.stderr) == (1, True)


def test_a_part_of_rbee_that_outlived_the_rest_counts_too(
    rbee: Rbee, home: Home, tmp_path: Path
) -> None:
    """It would go on with what it knew before."""
    rbee("backup", str(tmp_path / "kept"))
    left = {**os.environ, MARK: str(home.root)}
    with subprocess.Popen(["sleep", "60"], env=left) as part:
        done = rbee("restore", str(tmp_path / "kept"))
        part.kill()
    assert (done.returncode, "RESTORE_RUNNING" in done.stderr) == (1, True)
    assert rbee("restore", str(tmp_path / "kept")).returncode == 0
