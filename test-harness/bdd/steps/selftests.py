"""Given, when, then: what models compute, and what rbee remembers of it."""

from __future__ import annotations

import json

from pytest_bdd import given, parsers, then, when

from eventually import eventually
from tests.damaged_gguf import DAMAGES


@given("the model tiny was served and stopped")
def served_once(world):
    for words in (("serve", str(world.home.file()), "--wait"), ("stop", "tiny")):
        outcome = world.home.keeper(*words)
        assert outcome.code == 0, str(outcome)
    eventually(lambda: goldens(world), within_s=10)


def goldens(world):
    """The pages of golden answers, once they are written."""
    return list((world.home.path / "models" / "goldens").glob("*.json"))


@when("the stored file rots and looks as if it had not")
def rot(world):
    """As a disk does it: other bytes, and nothing of the file's identity tells."""
    (blob,) = (world.home.path / "models" / "blobs").iterdir()
    stored = blob.resolve()
    data = stored.read_bytes()
    stored.unlink()
    stored.write_bytes(DAMAGES["bits_1000"](data))
    (page,) = (world.home.path / "models" / "manifests").iterdir()
    manifest = json.loads(page.read_text())
    now = stored.stat()
    manifest["files"][0]["identity"].update(
        inode=now.st_ino,
        size_bytes=now.st_size,
        mtime_ns=now.st_mtime_ns,
        ctime_ns=now.st_ctime_ns,
    )
    page.write_text(json.dumps(manifest))


@when("the golden answers tell of other tokens")
def other_goldens(world):
    """What another machine would have left here."""
    (page,) = goldens(world)
    kept = json.loads(page.read_text())
    for answer in kept["goldens"].values():
        answer["tokens"][0] += 1
    page.write_text(json.dumps(kept))


@when("the golden answers are noise")
def noise(world):
    (page,) = goldens(world)
    page.write_bytes(b"\x00\xff{" * 50)


@then("the golden answers can be read again")
def readable(world):
    def read():
        try:
            return json.loads(goldens(world)[0].read_text())["goldens"]
        except ValueError:
            return None

    assert eventually(read, within_s=10)


@then(parsers.parse("a worker of {model} is ready, still trusted"))
def trusted(world, model):
    assert world.ready_worker()["model"] == model
