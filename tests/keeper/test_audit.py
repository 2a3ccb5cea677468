"""`rbee audit`, the real command."""

import getpass
import json

from rbee.edge.home import Home
from tests.keeper.conftest import Rbee


def test_what_commands_do_by_themselves_is_written_down(rbee: Rbee, home: Home) -> None:
    """While no rbee runs; without the key itself."""
    key = rbee("keys", "create", "--role", "admin").stdout.strip()
    rbee("keys", "revoke", key)
    id_ = key.split("_")[1]

    found = [json.loads(line) for line in rbee("audit", "--json").stdout.splitlines()]

    me = getpass.getuser()
    told = [(one["who"], one["act"], one["of"], one["result"]) for one in found]
    assert told == [
        (me, "keys/create", f"made={id_} roles=admin", "ok"),
        (me, "keys/revoke", f"id={id_}", "ok"),
    ]
    assert f"id={id_}" in rbee("audit", "--lines", "1").stdout
    assert key.encode() not in (home.state / "audit.jsonl").read_bytes()


def test_a_changed_line_is_found(rbee: Rbee, home: Home) -> None:
    """Whole: how many lines; changed: which one does not follow."""
    for _ in range(3):
        rbee("keys", "create")
    done = rbee("audit", "--check", "--json")
    assert (done.returncode, json.loads(done.stdout)["lines"]) == (0, 3)
    file = home.state / "audit.jsonl"
    file.write_bytes(file.read_bytes().replace(b"keys/create", b"keys/rename", 1))
    done = rbee("audit", "--check", "--json")
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"]) == (1, "AUDIT_BROKEN")
    assert error["details"] == {"line": 2, "lines": 3}


def test_without_acts_there_is_nothing(rbee: Rbee, home: Home) -> None:
    """And looking makes no home."""
    assert (rbee("audit").stdout, rbee("audit", "--check").returncode) == ("", 0)
    assert not home.root.exists()
