"""`rbee keys`, the real command, with rbee running and without."""

import json
import re
import time
from datetime import UTC, datetime

import pytest

from rbee.edge.home import Home
from rbee.edge.key_file import KeyFile
from rbee.policy.keys import Caller, judge
from tests.keeper.conftest import Rbee, Scripted

KEY = re.compile(r"rb_([0-9a-z]{8})_[0-9a-f]{64}\n")


def records(home: Home) -> KeyFile:
    file = KeyFile(home.keys_file)
    file.load()
    return file


def test_a_key_is_made_while_rbee_is_down(rbee: Rbee, home: Home) -> None:
    """An address that others reach needs a key before rbee starts; stdout is the key alone."""
    done = rbee("keys", "create", "--name", "laptop", "--rpm", "60", "--tpm", "20k")
    found = KEY.fullmatch(done.stdout)
    assert done.returncode == 0 and found, done.stderr
    assert "every request over the network address needs a key" in done.stderr
    record = records(home).records[found.group(1)]
    assert (record.name, record.rpm, record.tpm, record.roles) == ("laptop", 60, 20000, ("infer",))
    assert isinstance(judge(done.stdout.strip(), {record.id: record}, now=time.time()), Caller)
    second = rbee("keys", "create")
    assert "from now on" not in second.stderr
    assert found.group(1) in rbee("keys", "list").stdout


def test_a_key_is_revoked_and_forgotten(rbee: Rbee, home: Home) -> None:
    """By its id, or by the whole key that somebody pastes."""
    key = rbee("keys", "create").stdout.strip()
    id_ = key.split("_")[1]
    done = rbee("keys", "revoke", key, "--json")
    assert json.loads(done.stdout)["state"] == "revoked"
    assert records(home).records[id_].revoked_at
    assert "revoked" in rbee("keys", "list").stdout
    done = rbee("keys", "revoke", id_, "--forget")
    assert "need none again" in done.stderr and not records(home).records
    done = rbee("keys", "revoke", id_)
    assert (done.returncode, "KEY_NOT_FOUND" in done.stderr) == (1, True)


def test_listing_without_keys_makes_no_files(rbee: Rbee, home: Home) -> None:
    """It says that none are needed, and how to make one."""
    done = rbee("keys", "list")
    assert (done.returncode, "rbee keys create" in done.stdout) == (0, True)
    assert not home.root.exists()


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--expires", "yesterday"),
        ("--expires", "2020-01-01"),
        ("--rpm", "0"),
        ("--rpm", "many"),
        ("--tpm", "-5"),
        ("--concurrent", "1.5"),
        ("--role", "root"),
    ],
)
def test_flags_that_make_no_key(rbee: Rbee, home: Home, flag: str, text: str) -> None:
    """Refused with what would be right; nothing is written."""
    done = rbee("keys", "create", f"{flag}={text}")
    assert done.returncode == 2 and done.stdout == ""
    assert not home.keys_file.exists()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2999-01-01", datetime(2999, 1, 1, tzinfo=UTC).timestamp()),
        ("2999-01-01T12:00:00+02:00", datetime(2999, 1, 1, 10, tzinfo=UTC).timestamp()),
        ("30d", None),
    ],
)
def test_an_end_in_time(rbee: Rbee, home: Home, text: str, at: float | None) -> None:
    """A time from now, or a date in UTC."""
    done = rbee("keys", "create", "--expires", text, "--json")
    made = json.loads(done.stdout)
    expected = time.time() + 30 * 86400 if at is None else at
    assert made["expires_at"] == pytest.approx(expected, abs=60 if at is None else 0.001)


def test_a_running_rbee_is_asked(rbee: Rbee, home: Home, scripted: Scripted) -> None:
    """It owns the file: the command writes none beside it."""
    view = {"id": "abcd1234", "name": "x", "state": "valid", "roles": ["admin"], "rpm": 60}
    view |= {"tpm": None, "concurrent": None, "expires_at": None, "left": 1}
    scripted.say("/rbee/keys", {"keys": [view]})
    scripted.say("/rbee/keys/create", {**view, "key": "rb_abcd1234_" + "0" * 64})
    scripted.say("/rbee/keys/revoke", {**view, "state": "revoked"})
    assert "60 requests/min" in rbee("keys", "list").stdout
    done = rbee("keys", "create", "--role", "admin", "--concurrent", "2")
    assert KEY.fullmatch(done.stdout)
    asked = scripted.body("/rbee/keys/create")
    assert (asked["roles"], asked["concurrent"], asked["name"]) == (["admin"], 2, "")
    assert rbee("keys", "revoke", "abcd1234").returncode == 0
    assert scripted.body("/rbee/keys/revoke") == {"id": "abcd1234", "forget": False}
    assert not home.keys_file.exists()


def test_doctor_knows_who_gets_in(rbee: Rbee, home: Home) -> None:
    """Nobody beyond this machine, holders of a key, or nobody at all."""

    def found(**env: str) -> str:
        lines = rbee("doctor", "--json", env=env).stdout.splitlines()
        (one,) = [one for one in map(json.loads, lines) if one["about"] == "network"]
        return f"{one['is']} {one['says']}"

    assert found().startswith("ok this machine only; web pages")
    assert found(RBEE_HOST="0.0.0.0").endswith("0.0.0.0 needs a key first")
    id_ = json.loads(rbee("keys", "create", "--json").stdout)["id"]
    assert "this machine only, with a key (1 valid)" in found()
    assert found(RBEE_HOST="0.0.0.0").startswith("ok others reach it at 0.0.0.0")
    rbee("keys", "revoke", id_)
    assert found().endswith("but no key is valid")
    home.keys_file.write_text("{")
    assert "state/keys.json" in found()


def test_a_damaged_file_stops_a_start(rbee: Rbee, home: Home) -> None:
    """rbee does not come up open because it cannot read who may come in."""
    home.prepare()
    home.keys_file.write_text("{")
    for words in (("up", "--detach", "--port", "0"), ("keys", "list"), ("keys", "create")):
        done = rbee(*words)
        assert (done.returncode, "KEYS_DAMAGED" in done.stderr) == (2, True), done.stderr
    assert not home.queen_file.exists()
    assert home.keys_file.read_text() == "{"
