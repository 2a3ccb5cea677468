"""Other programs' caches: linked, verified where they name a digest, and never written to."""

import json

import pytest

from rbee.errors import RbeeError
from rbee.models.imports import cache_root, imported
from rbee.models.store import Store
from tests.model_file import DIGEST, model_path
from tests.models.test_store import quiet


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def ollama(root, layers, name="smol", tag="135m"):
    folder = root / "manifests" / "registry.ollama.ai" / "library" / name
    folder.mkdir(parents=True)
    (folder / tag).write_text(layers if isinstance(layers, str) else json.dumps(layers))
    (root / "blobs").mkdir(exist_ok=True)
    return root


def layer(digest):
    kind = "application/vnd.ollama.image.model"
    return {"layers": [{"mediaType": "x"}, {"mediaType": kind, "digest": f"sha256:{digest}"}]}


def test_an_ollama_model_is_linked_under_its_name(tmp_path, store):
    """Its digest is that of the blob's name, and known; a second import finds it here."""
    root = ollama(tmp_path / "ollama", layer(DIGEST))
    (root / "blobs" / f"sha256-{DIGEST}").symlink_to(model_path())

    (one,) = imported(store, f"ollama={root}", quiet)
    (again,) = imported(store, f"ollama={root}", quiet)

    assert (one.name, one.outcome, one.digest_known) == ("smol:135m", "linked", True)
    assert again.outcome == "here" and len(store.all()) == 1
    blob = store.blob(f"sha256:{DIGEST}")
    assert blob.is_symlink() and store.get("smol:135m").digest_known


@pytest.mark.parametrize(
    "layers", ["noise", "[]", '{"layers": 3}', {"layers": []}, layer("../../etc/passwd")]
)
def test_a_manifest_that_names_no_model_is_refused(tmp_path, store, layers):
    """Whatever stands in it; a digest is no path."""
    (one,) = imported(store, f"ollama={ollama(tmp_path / 'o', layers)}", quiet)

    assert one.outcome == "refused" and one.problem.code == "MODEL_CORRUPTED"


def test_a_blob_that_is_gone_is_told(tmp_path, store):
    """A manifest without its blob is MODEL_FILE_MISSING; nothing is stored."""
    (one,) = imported(store, f"ollama={ollama(tmp_path / 'o', layer(DIGEST))}", quiet)

    assert one.problem.code == "MODEL_FILE_MISSING" and store.all() == []


def test_a_digest_that_does_not_hold_is_refused(tmp_path, store):
    """Good structure under a wrong name is another file than the cache says."""
    snapshot = tmp_path / "hub" / "models--a--b" / "snapshots" / "c"
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "hub" / "models--a--b" / "blobs"
    blobs.mkdir()
    (blobs / ("1" * 64)).write_bytes(model_path().read_bytes())
    (snapshot / "wrong.gguf").symlink_to(blobs / ("1" * 64))

    (one,) = imported(store, f"huggingface={tmp_path / 'hub'}", quiet)

    assert one.problem.code == "MODEL_CORRUPTED" and "filed under" in one.problem.message


def test_a_folder_goes_on_after_a_bad_file(tmp_path, store):
    """Each file for itself; a split model that is damaged is told once."""
    folder = tmp_path / "models" / "org" / "repo"
    folder.mkdir(parents=True)
    (folder / "good.gguf").write_bytes(model_path().read_bytes())
    (folder / "bad.gguf").write_bytes(b"<html>")
    for part in (1, 2):
        (folder / f"big-0000{part}-of-00002.gguf").write_bytes(b"GGUF")

    found = {one.name: one for one in imported(store, f"lmstudio={tmp_path / 'models'}", quiet)}

    assert found["good"].outcome == "linked" and not found["good"].digest_known
    assert found["bad"].outcome == "refused"
    assert found["big"].outcome == "refused" and len(found) == 3


def test_a_projector_is_no_model(tmp_path, store):
    """`mmproj-….gguf` lies beside a model and cannot answer by itself."""
    data = model_path().read_bytes()
    kind = b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama"
    assert kind in data
    clip = kind.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x04\0\0\0\0\0\0\0clip")
    (tmp_path / "mmproj.gguf").write_bytes(data.replace(kind, clip, 1) + b"\0" * 64)

    (one,) = imported(store, str(tmp_path / "mmproj.gguf"), quiet)

    assert (one.outcome, one.problem.code) == ("refused", "MODEL_UNSUPPORTED")


def test_what_was_linked_before_is_not_read_again(tmp_path, store):
    """Unless the file has changed since."""
    file = tmp_path / "a.gguf"
    file.write_bytes(model_path().read_bytes())
    seen = []
    imported(store, str(file), lambda *done: seen.append(done))
    read, seen = len(seen), []
    (again,) = imported(store, str(file), lambda *done: seen.append(done))
    assert read and not seen and again.outcome == "here"
    file.touch()

    imported(store, str(file), lambda *done: seen.append(done))

    assert len(seen) == read


def test_no_cache_is_told(tmp_path, store):
    """A program that was never here, and a path that is none."""
    for what in (f"ollama={tmp_path / 'none'}", str(tmp_path / "none"), "word"):
        with pytest.raises(RbeeError) as caught:
            imported(store, what, quiet)
        assert caught.value.code == "MODEL_FILE_MISSING"


def test_each_program_says_itself_where_its_models_are(monkeypatch, tmp_path):
    """Their own variables, in their own order."""
    for name in ("OLLAMA_MODELS", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_root("ollama") == "/h/.ollama/models"
    assert cache_root("lmstudio") == "/h/.lmstudio/models"
    assert cache_root("huggingface") == "/c/huggingface/hub"
    monkeypatch.setenv("HF_HOME", "/f")
    assert cache_root("huggingface") == "/f/hub"
    monkeypatch.setenv("HUGGINGFACE_HUB_CACHE", "/b")
    assert cache_root("huggingface") == "/b"
