"""Checksums: one pass gives all of them, however the bytes come."""

import hashlib
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.errors import RbeeError
from rbee.models.hashing import CHUNK_BYTES, Hasher, hash_file


@given(st.lists(st.binary(max_size=4096), max_size=20))
@settings(deadline=None)
def test_the_digest_does_not_depend_on_how_the_bytes_come(blocks):
    """Cut anywhere, the sum of all is the same."""
    hasher = Hasher()
    for block in blocks:
        hasher.update(block)

    assert hasher.end().digest == "sha256:" + hashlib.sha256(b"".join(blocks)).hexdigest()


def test_each_chunk_of_16_mib_has_its_crc(tmp_path):
    """Whole chunks and the rest, each by itself, across blocks that straddle them."""
    data = bytes(range(256)) * ((2 * CHUNK_BYTES + 5 * 256) // 256)
    file = tmp_path / "f"
    file.write_bytes(data)

    hashed = hash_file(file, len(data), lambda *_: None)

    expected = [zlib.crc32(data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES)]
    assert list(hashed.chunks) == expected
    assert hashed.size_bytes == len(data)


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    """A folder where a file should be is a coded error."""
    with pytest.raises(RbeeError) as caught:
        hash_file(tmp_path, 1, lambda *_: None)
    assert caught.value.code == "DISK_IO"
