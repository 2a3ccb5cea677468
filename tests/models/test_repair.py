"""A damaged model is right again as long as one of its sources has it."""

import os
import struct

import pytest

from rbee.errors import RbeeError
from rbee.models.acquire import Acquire
from rbee.models.repair import repaired
from rbee.models.store import Store
from rbee.settings import Limits, Settings
from tests.models.test_store import quiet, untroubled
from tests.models.wheel_index import SOURCE, serving, wheel

SETTINGS = Settings(home="/nonexistent", limits=Limits(disk_reserve_bytes=0))


def small_model(size_bytes: int) -> bytes:
    """A GGUF of one tensor of noise."""

    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    head += text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    head += text(b"w") + struct.pack("<IQIQ", 1, (size_bytes - 4096) // 4, 0, 0)
    return head + os.urandom(size_bytes - len(head))


@pytest.fixture
def index(monkeypatch):
    with serving(small_model(17 << 20)) as found:
        monkeypatch.setenv("PIP_INDEX_URL", found.url)
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        yield found


@pytest.fixture
def stored(tmp_path, index):
    store = Store(tmp_path)
    return store, Acquire(store, SETTINGS, quiet, untroubled).pull(SOURCE)


def test_a_whole_model_is_left_alone(stored, index):
    """Nothing is fetched for it."""
    store, manifest = stored
    sent_bytes = index.server.sent_bytes
    found = repaired(store, SETTINGS, manifest, quiet, untroubled)

    assert (found.rotted, found.fetched_bytes) == (0, 0)
    assert index.server.sent_bytes == sent_bytes


def test_a_damaged_model_of_a_wheel_is_fetched_again(stored, index):
    """A wheel gives no parts, so the whole comes again, and is right."""
    store, manifest = stored
    sent_bytes = index.server.sent_bytes
    blob = store.blob(manifest.digest)
    with blob.open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"!")

    found = repaired(store, SETTINGS, manifest, quiet, untroubled)

    assert found.whole and found.rotted
    assert index.server.sent_bytes - sent_bytes >= manifest.size_bytes
    assert store.get(manifest.name).digest == manifest.digest
    assert not store.needs_hash(store.get(manifest.name))


def test_a_lost_file_is_fetched_again(stored, index):
    """A manifest without its blob is damage too."""
    store, manifest = stored
    store.blob(manifest.digest).unlink()

    assert repaired(store, SETTINGS, manifest, quiet, untroubled).whole
    assert store.blob(manifest.digest).stat().st_size == manifest.size_bytes


def test_a_source_that_has_another_model_now_is_refused(stored, index):
    """A repair never swaps a model for another version."""
    store, manifest = stored
    store.blob(manifest.digest).unlink()
    index.wheel = wheel(small_model(17 << 20))

    with pytest.raises(RbeeError) as caught:
        repaired(store, SETTINGS, manifest, quiet, untroubled)

    assert caught.value.code == "MODEL_VERSION_MISMATCH"
    assert store.get(manifest.name).digest == manifest.digest
    store.collect_superseded(())
    assert not list(store.blobs.iterdir())
