"""What rbee keeps: backups, and what becomes of them."""

from __future__ import annotations

import base64
import getpass
import hashlib
import json
import shutil
import stat
from pathlib import Path

from pytest_bdd import given, parsers, then, when

from eventually import eventually

MORE = 1000


def sealed(head: dict, files: dict[str, str]) -> bytes:
    """A backup of these files, with the digest that such a file has."""
    body = json.dumps(files).encode()
    digest = hashlib.sha256(body).hexdigest()
    return json.dumps({**head, "sha256": digest}).encode() + b"\n" + body + b"\n"


def opened(path: Path) -> tuple[dict, dict[str, str]]:
    """What stands in a backup: its head, and its files in base64."""
    head, body = path.read_bytes().splitlines()
    return json.loads(head), json.loads(body)


# --- given ----------------------------------------------------------------------------------


@given("a place for backups")
def a_place(world, tmp_path):
    world.seen["file"] = str(tmp_path / "kept.backup")


@given(parsers.parse("a file that is {what}"))
def no_backup(world, tmp_path, what):
    a_place(world, tmp_path)
    file = Path(world.seen["file"])
    outcome = world.keeper("backup", str(file))
    assert outcome.code == 0, str(outcome)
    whole = file.read_bytes()
    head, files = opened(file)
    way_out = {"manifests/../../../out.json": base64.b64encode(b"{}").decode()}
    made = {
        "a backup cut in half": whole[: len(whole) // 2],
        "a backup with a way out": sealed(head, {**files, **way_out}),
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(1000),
        "a backup of a newer rbee": sealed({**head, "schema": 2, "rbee": "9.0.0"}, files),
    }
    file.write_bytes(made[what])
    world.seen["before"] = everything(world)


def everything(world):
    """Files of the home, and what stands beside it."""
    beside = sorted(str(path) for path in world.home.path.parent.glob("*.json"))
    return beside, {str(path): path.stat().st_ino for path in world.home.path.rglob("*")}


@given("a backup with a thousand models more")
def thousand(world, tmp_path):
    a_place(world, tmp_path)
    file = Path(world.seen["file"])
    outcome = world.keeper("backup", str(file))
    assert outcome.code == 0, str(outcome)
    head, files = opened(file)
    (known,) = (json.loads(base64.b64decode(one)) for one in files.values())
    for number in range(MORE):
        name = f"model-{number:04}"
        manifest = json.dumps({**known, "name": name, "ref": f"file:///{name}"}).encode()
        files[f"manifests/{name}.json"] = base64.b64encode(manifest).decode()
    file.write_bytes(sealed(head, files))


# --- when -----------------------------------------------------------------------------------


@when("rbee goes down and its disk is lost")
def disk_lost(world):
    outcome = world.keeper("down")
    assert outcome.code == 0, str(outcome)
    for path in world.home.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@when("rbee restore is killed halfway")
def killed_halfway(world):
    manifests = world.home.path / "models" / "manifests"
    restoring = world.home.begin("restore", world.seen["file"])
    eventually(lambda: len(list(manifests.iterdir())) > MORE // 4, within_s=30)
    restoring.kill()
    restoring.communicate(timeout=10)
    assert len(list(manifests.glob("model-*.json"))) < MORE, "it was over before it was killed"


@when(parsers.parse("the configuration says {line}"))
def configured(world, line):
    """And rbee has seen it."""
    before = len(reloads(world))
    (world.home.path / "rbee.toml").write_text(f"[limits]\n{line}\n")
    eventually(lambda: len(reloads(world)) > before, within_s=10)


def reloads(world):
    return [one for one in acts(world) if one["act"] == "reload"]


@when("somebody changes a line of the log of acts")
def tampered(world):
    file = world.home.path / "state" / "audit.jsonl"
    changed = file.read_bytes().replace(b"keys/create", b"keys/rename", 1)
    assert changed != file.read_bytes()
    file.write_bytes(changed)


# --- then -----------------------------------------------------------------------------------


@then(parsers.parse("the backup is for nobody else, and holds no secret of the key {name}"))
def backup_is_private(world, name):
    file = Path(world.seen["file"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    _, files = opened(file)
    held = [file.read_bytes(), *(base64.b64decode(one) for one in files.values())]
    secret = world.seen[name]["key"].split("_")[2].encode()
    assert world.seen[name]["id"].encode() in b"".join(held)
    assert not [one for one in held if secret in one]


@then("nothing was put into the home, or beside it")
def nothing_put(world):
    beside, files = everything(world)
    before_beside, before = world.seen["before"]
    assert beside == before_beside
    assert {name: files[name] for name in before if name in files} == before
    # A home that is prepared has its folders.
    assert not [name for name in files if name not in before and Path(name).is_file()]


@then(parsers.parse("{count:d} models are listed"))
def so_many_models(world, count):
    lines = [json.loads(line) for line in world.outcome.out.splitlines()]
    assert sum("name" in line for line in lines) == count


def acts(world):
    file = world.home.path / "state" / "audit.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@then("the log of acts says, in this order")
def acts_in_order(world, datatable):
    head, *rows = datatable
    names = {
        "me": getpass.getuser(),
        "key office": f"key {world.seen['office']['id']} (office)",
        "rbee.toml": "rbee.toml",
    }
    wanted = [dict(zip(head, row, strict=True)) for row in rows]
    found = acts(world)
    assert len(found) == len(wanted), found
    for one, want in zip(found, wanted, strict=True):
        assert one["who"] == names[want["who"]], (one, want)
        assert (one["act"], one["result"]) == (want["act"], want["result"]), (one, want)
        assert want["of"] in one["of"], (one, want)
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)


@then(parsers.parse("the secret of the key {name} is nowhere in the log of acts"))
def no_secret_in_acts(world, name):
    secret = world.seen[name]["key"].split("_")[2]
    assert secret not in (world.home.path / "state" / "audit.jsonl").read_text()
