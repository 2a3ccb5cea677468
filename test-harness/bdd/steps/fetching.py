"""Models that come from registries: how they are pulled, and what is in the store."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import uuid
from pathlib import Path

from pytest_bdd import parsers, then, when

from codes_seen import SEEN
from eventually import eventually
from faults import catalogues
from faults.registry import File
from steps.registries import MIB, Remote
from world import RBEE, Home

PART_BYTES = 64 * MIB


class Pull:
    """`rbee models pull NAME --json` under way."""

    def __init__(self, home: Home, name: str) -> None:
        self._said = home.path / f"pull-{uuid.uuid4().hex[:8]}"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [RBEE, "models", "pull", name, "--json"],
                env=home.env,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def end(self, within_s: float = 60) -> int:
        code = self.process.wait(within_s)
        SEEN.take_screen(self.said, asked=False)
        return code


# --- when -----------------------------------------------------------------------------------


@when("I pull it by its digest")
def pull_by_digest(world, web):
    web.model.name += "#sha256=" + web.model.digest.removeprefix("sha256:")
    pull(world, web)


@when("I pull it")
@when("I pull it by its address alone")
def pull(world, web):
    world.keeper("models", "pull", web.model.name)


@when("I begin to pull it")
@when("I begin to pull it a second time")
@when("I begin to pull it by its address alone")
def begin_to_pull(world, web):
    world.seen.setdefault("pulls", []).append(Pull(world.home, web.model.name))


@when("I pull it in a terminal")
def pull_in_terminal(world, web):
    """Whatever the terminal got, and what went to a standard output that is none."""
    mine, its = pty.openpty()
    env = {**world.home.env, "TERM": "xterm", "LANG": "C.UTF-8"}
    del env["NO_COLOR"]
    command = [RBEE, "models", "pull", web.model.name]
    with subprocess.Popen(command, env=env, stdin=its, stdout=subprocess.PIPE, stderr=its) as pull:
        os.close(its)
        shown = b""
        try:
            while block := os.read(mine, 65536):
                shown += block
        except OSError:
            # The terminal has no other end any more (EIO): the command is over.
            os.close(mine)
        world.seen["shown"] = (pull.wait(20), shown.decode(), pull.stdout.read())


@when("all that may come has come")
def has_come(web):
    eventually(lambda: web.front.sent_bytes >= web.front.gate_at, within_s=30)


@when("its bytes flow again")
def flow(web):
    web.front.gate_at = 0


@when("the file on the web is replaced, and its server starts anew")
def replaced(web):
    model = web.model
    model.path = web.made(model.path.stat().st_size // MIB)
    model.__post_init__()
    web.front.files[model.address] = File(model.path, '"v2"')
    web.front.hang_up()


@when("I pull all of them at once")
def pull_all(world, web):
    pulls = {model.name: Pull(world.home, model.name) for model in web.models}
    world.seen["ended"] = {name: (one.end(), one.said) for name, one in pulls.items()}


@when("the faults end")
def faults_end(web):
    web.front.faults.clear()


@when("I verify it")
def verify(world, web):
    web.front.forget()
    world.keeper("models", "verify", stored(world, web.model)["name"])


@when(parsers.parse("I ask it for {count:d} tokens"))
def ask_it(world, web, count):
    world.answer = world.home.chat(model=stored(world, web.model)["name"], max_tokens=count)


@when("its registry gets a newer version")
def newer(world, web):
    model = web.models.pop()
    newer_path = web.made(3)
    repo = model.name.split(":")[1]
    front, store = web.hosts
    catalogues.hugging_face(front, store, repo, {"model.Q4_0.gguf": newer_path}, "decade00" * 5)
    web.models.append(Remote(model.name, newer_path, old_digest=model.digest))


@when("I pull it as the version that was there before")
def pull_old(world, web):
    world.keeper("models", "pull", f"{web.model.name}@{web.model.old_digest}")


@when("I list the models from the web, and those from Hugging Face")
def by_source(world):
    world.seen["lists"] = [
        [json.loads(line) for line in world.keeper(*words).out.splitlines()]
        for words in (
            ("models", "list", "--json", "--source", "http"),
            ("models", "list", "--json", "--source", "hf"),
        )
    ]


# --- then -----------------------------------------------------------------------------------


def listed(world) -> list[dict[str, object]]:
    outcome = world.home.keeper("models", "list", "--json")
    assert outcome.code == 0, str(outcome)
    return [json.loads(line) for line in outcome.out.splitlines()]


def left_of(model, known):
    """Files without a name, and what is kept of a download of this model."""
    url = model.name.partition("#")[0]
    keys = {
        model.digest.replace(":", "-"),
        "url-" + hashlib.sha256(url.encode()).hexdigest(),
    }
    partials = [one for one in known if one.get("partial", {}).get("name") in keys]
    return partials + [one for one in known if "unnamed" in one]


def stored(world, model):
    """What the store says of a model; none: it is not there."""
    found = [one for one in listed(world) if one.get("digest") == model.digest]
    return found[0] if found else None


@then("it is stored whole")
def is_whole(world, web):
    whole(world, web.model)


@then("all of them are stored whole")
def all_whole(world, web):
    assert all(code == 0 for code, _ in world.seen["ended"].values()), world.seen["ended"]
    for model in web.models:
        whole(world, model)


def whole(world, model):
    """The store names it, and its bytes are those of the registry; nothing half-made is beside."""
    known = listed(world)
    found = next((one for one in known if one.get("digest") == model.digest), None)
    assert found is not None, (world.seen.get("ended", {}).get(model.name), known)
    shown = json.loads(world.home.keeper("models", "show", found["name"], "--json").out)
    with Path(shown["path"]).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert "sha256:" + digest == shown["digest"] == model.digest
    # A file that a newer version has replaced goes a moment after its name.
    eventually(lambda: not left_of(model, listed(world)), within_s=2)


@then("nothing of it is kept")
def nothing_kept(world, web):
    not_stored(world, web)
    assert not left_of(web.model, listed(world))


@then("it is not stored")
@then("none of them is stored")
def not_stored(world, web):
    """No model, no file without a name; what may be resumed is no file of the store yet."""
    known = listed(world)
    digests = {model.digest for model in web.models}
    assert not [one for one in known if one.get("digest") in digests or "unnamed" in one], known


@then("each ends with its code")
def each_code(web, world):
    wrong = [
        f"{fault}: {code} expected, [{ended}] {said[-400:]}"
        for name, (fault, code) in web.wanted.items()
        for ended, said in [world.seen["ended"][name]]
        if not ended or f'"{code}"' not in said
    ]
    assert not wrong, "\n".join(wrong)


@then(parsers.parse("the pull exits with {code:d}"))
@then(parsers.parse("the last pull exits with {code:d}"))
def pull_exits(world, code):
    pull_ = world.seen["pulls"][-1]
    assert pull_.end() == code, pull_.said[-2000:]


@then(parsers.parse("each of the {count:d} pulls exits with {code:d}"))
def pulls_exit(world, count, code):
    pulls = world.seen["pulls"]
    assert [one.end() for one in pulls] == [code] * count, [one.said[-800:] for one in pulls]


@then(parsers.parse("the pull says {code}"))
def pull_says(world, code):
    assert code in world.seen["pulls"][-1].said


@then("the registry saw the key")
def key_seen(world, web):
    assert any(world.seen["key"] in str(one.headers) for one in web.front.asked)


@then("the other host saw no key")
def key_not_seen(world, web):
    assert web.store.bodies()
    assert not any("authorization" in one.headers for one in web.store.asked)
    assert not any(world.seen["key"] in f"{one.headers} {one.target}" for one in web.store.asked)


@then("the key stands nowhere in what rbee wrote")
def key_nowhere(world):
    secret = world.seen["key"].encode()
    for folder in ("logs", "state", "run", "models/manifests"):
        for path in (world.home.path / folder).rglob("*"):
            assert not path.is_file() or secret not in path.read_bytes(), path


@then(parsers.parse("at most {size_mib:d} MiB were fetched twice"))
def hardly_twice(web, size_mib):
    """Of what went out, sockets may have held that much when the line or the process ended."""
    assert web.front.sent_twice_bytes <= size_mib * MIB


@then("each byte was fetched once")
def each_once(web):
    assert web.front.sent_bytes == web.model.path.stat().st_size


@then(parsers.parse("its server gave {count:d} bytes, and the other host the rest"))
def shared(web, count):
    assert web.front.sent_bytes == count
    assert web.store.sent_bytes == web.model.path.stat().st_size - count


@then("not one byte of it was fetched")
def not_one(web):
    assert web.front.sent_bytes == 0


@then(parsers.parse("{size_mib:d} MiB were fetched, and nothing else"))
def exactly(web, size_mib):
    (asked,) = web.front.bodies()
    assert asked.size_bytes == web.front.sent_bytes == size_mib * MIB
    assert asked.begin % (16 * MIB) == 0


@then("one line told its name, how much had come, how fast, and how long still, and was erased")
def watched(world, web):
    code, shown, out = world.seen["shown"]
    assert (code, out) == (0, b""), shown
    *drawn, last = shown.split("\r\x1b[2K")
    lines = [line for line in drawn if " of 8.0 MiB" in line]
    assert 3 <= len(lines) <= 16, shown
    name = web.model.name[-12:]
    assert all(name in line and "\n" not in line for line in lines), shown
    shares = [int(line.split(" %")[0].split()[-1]) for line in lines]
    assert shares == sorted(shares) and shares[0] < 50 < shares[-1], shares
    timed = [line for line in lines if "/s " in line and line.rstrip().endswith(" s left")]
    assert len(timed) >= 2, shown
    assert "sha256 verified" in last and "%" not in last, shown


@then("it stands in the first list alone")
def in_first_list(world, web):
    web_list, hub_list = world.seen["lists"]
    own = stored(world, web.model)["name"]
    assert own in [one["name"] for one in web_list]
    assert own not in [one["name"] for one in hub_list]
    assert all(one["source"].startswith("http:") for one in web_list)
