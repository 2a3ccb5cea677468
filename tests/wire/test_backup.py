"""A backup is read back as it was written, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import RbeeError
from rbee.wire.backup import FILES, read_backup, write_backup

NAMES = st.sampled_from([*FILES, "manifests/tiny.json", "manifests/hf%3Aorg%2Frepo%3AQ4.json"])
GOOD = write_backup({"rbee.toml": b"x = 1"}, rbee="0.1.0", made_at=7.0)


def refusal(data: bytes) -> str:
    """The code that it is refused with."""
    with pytest.raises(RbeeError) as caught:
        read_backup(data)
    return caught.value.code


@given(st.dictionaries(NAMES, st.binary(max_size=200)))
def test_what_is_written_is_read(files: dict[str, bytes]) -> None:
    """Every byte of every file, and who made it when."""
    found = read_backup(write_backup(files, rbee="0.1.0", made_at=7.0))

    assert (dict(found.files), found.rbee, found.made_at) == (files, "0.1.0", 7.0)


@given(st.binary(max_size=400))
def test_rubbish_is_refused(data: bytes) -> None:
    """No bytes make another exception than ours."""
    assert refusal(data) == "BACKUP_INVALID"


def test_a_bit_that_rots_changes_nothing_or_is_seen() -> None:
    """Each bit in turn: in the head it may stand for a name or a time; what is put back is what was
    kept."""
    for place in range(8 * len(GOOD)):
        rotten = bytearray(GOOD)
        rotten[place // 8] ^= 1 << place % 8
        try:
            found = read_backup(bytes(rotten))
        except RbeeError as error:
            assert error.code in ("BACKUP_INVALID", "BACKUP_NEWER")
        else:
            assert dict(found.files) == {"rbee.toml": b"x = 1"}


def test_a_part_is_refused() -> None:
    """However little is missing; but for the last line's end."""
    for cut in range(len(GOOD) - 1):
        assert refusal(GOOD[:cut]) == "BACKUP_INVALID"


def test_a_newer_form_is_told_apart() -> None:
    """It is no rubbish: a newer rbee reads it."""
    assert refusal(GOOD.replace(b'"schema":1', b'"schema":2')) == "BACKUP_NEWER"


@pytest.mark.parametrize(
    "name",
    [
        "../rbee.toml",
        "/etc/passwd",
        "manifests/../../x.json",
        "manifests/a/b.json",
        "manifests/.json/../../x",
        "manifests/x.json\n",
        "state/jobs.sqlite",
        "models/blobs/sha256-0",
        "",
    ],
)
def test_a_name_that_is_not_ours_is_refused(name: str) -> None:
    """A stranger's file puts nothing anywhere but where rbee keeps such things."""
    assert refusal(write_backup({name: b"x"}, rbee="0.1.0", made_at=1.0)) == "BACKUP_INVALID"
