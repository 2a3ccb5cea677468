"""Keys on disk."""

import json
import os
import stat
from pathlib import Path

import pytest

from rbee.edge.key_file import KeyFile
from rbee.errors import RbeeError
from rbee.policy.keys import MOST_KEYS, Caller, judge
from rbee.wire.keys import KeyAsk

NOW = 1_800_000_000.0


def test_a_key_outlives_the_process(tmp_path: Path) -> None:
    """What one life made opens in the next; the secret itself is nowhere on the disk."""
    path = tmp_path / "state" / "keys.json"
    made = KeyFile(path).create(KeyAsk(name="laptop", rpm=5), NOW)
    again = KeyFile(path)
    again.load()
    found = judge(made.key, again.records, now=NOW)
    assert isinstance(found, Caller) and found.key_id == made.record.id
    assert made.key.split("_")[2] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["keys.json"]


def test_keys_are_long_and_never_the_same(tmp_path: Path) -> None:
    """256 bits behind an id that is no other key's."""
    file = KeyFile(tmp_path / "keys.json")
    made = [file.create(KeyAsk(), NOW) for _ in range(20)]
    assert len({one.key for one in made}) == len({one.record.id for one in made}) == 20
    assert all(len(bytes.fromhex(one.key.split("_")[2])) == 32 for one in made)


def test_revoking_keeps_the_record_and_forgetting_drops_it(tmp_path: Path) -> None:
    """A revoked key is told as such; twice revoked, the first time stands."""
    file = KeyFile(tmp_path / "keys.json")
    id_ = file.create(KeyAsk(), NOW).record.id
    assert file.revoke(id_, NOW + 1).revoked_at == NOW + 1
    assert file.revoke(id_, NOW + 2).revoked_at == NOW + 1
    file.revoke(id_, NOW + 3, forget=True)
    again = KeyFile(tmp_path / "keys.json")
    again.load()
    assert file.records == again.records == {}
    with pytest.raises(RbeeError) as raised:
        file.revoke(id_, NOW)
    assert raised.value.code == "KEY_NOT_FOUND"


@pytest.mark.parametrize("text", ["", "{", '[{"id": 1}]', '[{"id": "a", "sha256": "b", "x": 1}]'])
def test_a_damaged_file_is_not_an_empty_one(tmp_path: Path, text: str) -> None:
    """Taken for empty it would open the door that it closes."""
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(RbeeError) as raised:
        KeyFile(path).load()
    assert raised.value.code == "KEYS_DAMAGED"
    assert str(tmp_path) not in str(raised.value)


def test_what_cannot_be_written_has_not_happened(tmp_path: Path) -> None:
    """The file of before stays whole, and so does the memory of it."""
    file = KeyFile(tmp_path / "keys.json")
    id_ = file.create(KeyAsk(), NOW).record.id
    before = (tmp_path / "keys.json").read_bytes()
    (tmp_path / f".keys.json.{os.getpid()}").mkdir()  # where the new file would be written
    for act in (lambda: file.create(KeyAsk(), NOW), lambda: file.revoke(id_, NOW)):
        with pytest.raises(RbeeError) as raised:
            act()
        assert raised.value.code == "DISK_IO"
        assert str(tmp_path) not in json.dumps(raised.value.report.details)
    assert not file.records[id_].revoked_at
    assert (tmp_path / "keys.json").read_bytes() == before


def test_keys_have_a_most(tmp_path: Path) -> None:
    """The file is bounded."""
    file = KeyFile(tmp_path / "keys.json")
    record = file.create(KeyAsk(), NOW).record
    file.records = {str(number): record for number in range(MOST_KEYS)}
    with pytest.raises(RbeeError) as raised:
        file.create(KeyAsk(), NOW)
    assert raised.value.code == "INVALID_REQUEST" and "--forget" in str(raised.value)
