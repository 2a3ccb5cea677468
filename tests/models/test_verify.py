"""The scrub: rot is found where it sits, and no byte more than that is fetched again."""

import http.client
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rbee.errors import RbeeError
from rbee.models.hashing import CHUNK_BYTES
from rbee.models.manifest import Piece
from rbee.models.store import Store
from rbee.models.verify import scrub
from tests.models.test_store import quiet, stored

DATA = os.urandom(1 << 20) * 40 + b"the end"
"""Three chunks: two whole ones and a shorter one."""


class Source:
    """A loopback server with one file; it remembers which ranges were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[str] = []
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                span = self.headers["range"]
                source.asked.append(span)
                begin, end = (int(part) for part in span.removeprefix("bytes=").split("-"))
                body = source.data[begin : end + 1]
                self.send_response(206)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing on the screen of a test."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def read(self, source: str, piece: Piece, begin: int, end: int) -> Iterator[bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=10)
        try:
            line.request("GET", "/", headers={"range": f"bytes={begin}-{end - 1}"})
            yield line.getresponse().read()
        finally:
            line.close()


@pytest.fixture
def source():
    found = Source(DATA)
    yield found
    found.server.shutdown()
    found.server.server_close()


def change(path: Path, at: int, byte: bytes = b"!") -> None:
    """One byte in place; size and time stay, as when a disk rots."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(byte)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def without_ranges(source: str, piece: Piece, begin: int, end: int) -> None:
    """A source that gives whole files only."""


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_flipped_byte_costs_one_chunk(tmp_path, source, number):
    """The chunk that rotted is fetched again, and only that one; the whole is right after it."""
    store, manifest = stored(tmp_path, data=DATA)
    change(store.blob(manifest.digest), number * CHUNK_BYTES + 5)

    found = scrub(store, manifest, quiet, source.read)

    begin, end = number * CHUNK_BYTES, min(len(DATA), (number + 1) * CHUNK_BYTES)
    assert source.asked == [f"bytes={begin}-{end - 1}"]
    assert (found.rotted, found.chunks, found.fetched_bytes) == (1, 3, end - begin)
    assert store.blob(manifest.digest).read_bytes() == DATA
    assert not store.needs_hash(found.manifest) and store.get("x") == found.manifest


def test_a_file_cut_short_gets_its_end_again(tmp_path, source):
    """What is missing counts as rotted; what follows the end is cut off."""
    store, manifest = stored(tmp_path, data=DATA)
    os.truncate(store.blob(manifest.digest), CHUNK_BYTES + 9)
    assert scrub(store, manifest, quiet, source.read).rotted == 2

    with store.blob(manifest.digest).open("ab") as file:
        file.write(b"more")
    scrub(store, manifest, quiet, source.read)

    assert store.blob(manifest.digest).read_bytes() == DATA


def test_what_cannot_be_mended_is_not_trusted(tmp_path):
    """Without ranges it is MODEL_CORRUPTED, and a later load hashes it again, though neither its
    size nor its time tells of the rot."""
    store, manifest = stored(tmp_path, data=DATA)
    change(store.blob(manifest.digest), 7)

    with pytest.raises(RbeeError) as caught:
        scrub(store, manifest, quiet, without_ranges)

    assert caught.value.code == "MODEL_CORRUPTED" and "1 of 3 chunks" in str(caught.value)
    assert store.needs_hash(store.get("x"))


def test_a_source_that_changed_writes_nothing(tmp_path, source):
    """Other bytes than those that were stored never reach the file."""
    store, manifest = stored(tmp_path, data=DATA)
    change(store.blob(manifest.digest), 7)
    rotten = store.blob(manifest.digest).read_bytes()
    source.data = b"?" * len(DATA)

    with pytest.raises(RbeeError) as caught:
        scrub(store, manifest, quiet, source.read)

    assert "other bytes now" in str(caught.value)
    assert store.blob(manifest.digest).read_bytes() == rotten


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_persons_file_is_never_written_to(tmp_path, source, link):
    """A linked file that changed is told, not mended, whichever kind of link it is."""
    store, manifest = stored(tmp_path / "store", data=DATA)
    blob = store.blob(manifest.digest)
    own = tmp_path / "own.gguf"
    own.write_bytes(DATA)
    change(own, 7)
    blob.unlink()
    link(own, blob)
    before = own.read_bytes()

    with pytest.raises(RbeeError) as caught:
        scrub(store, manifest, quiet, source.read)

    assert caught.value.code == "MODEL_CORRUPTED"
    assert own.read_bytes() == before and source.asked == []


def test_a_model_without_a_table_gets_one(tmp_path):
    """A manifest of an earlier rbee has no chunks: the scrub of a whole file takes them."""
    import msgspec

    store, manifest = stored(tmp_path, data=DATA)
    bare = tuple(msgspec.structs.replace(one, chunks=()) for one in manifest.files)
    store.write(msgspec.structs.replace(manifest, files=bare))

    scrub(Store(tmp_path), store.get("x"), quiet, without_ranges)

    assert store.get("x").files[0].chunks == manifest.files[0].chunks
