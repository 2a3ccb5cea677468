"""Downloads that are interrupted: by signals, by full disks, by others who want the same."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time

import psutil
import pytest
from pytest_bdd import given, parsers, then, when

from eventually import eventually
from faults.cutting_proxy import cutting
from steps.fetching import PART_BYTES, Pull, listed, whole
from steps.registries import MIB
from world import Home

KILLS = int(os.environ.get("RBEE_TEST_KILLS", "5"))
"""In `make test`; a long run sets 50."""
MOST_BETWEEN_BYTES = 96 * MIB
VICTIMS = ("rbee.models", "rbee.hive", "rbee.queen")


# --- given ----------------------------------------------------------------------------------


@pytest.fixture
def disks(tmp_path):
    """Makes file systems of their own; they are gone at the end."""
    made = []

    def make(size_mib):
        if os.geteuid() != 0:
            pytest.skip("privilege: mounting needs root")
        folder = tmp_path / f"disk-{len(made)}"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("kernel: tmpfs cannot be mounted here")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@given(parsers.parse("the store is on a disk of {size_mib:d} MiB"))
def store_on_disk(world, disks, size_mib):
    world.home.env["RBEE_MODELS_DIR"] = str(disks(size_mib))


@given("the store is a folder that nobody may change")
def immutable_store(world, immutable):
    world.home.env["RBEE_MODELS_DIR"] = str(immutable)


@given(parsers.parse("its files may have no more than {size_mib:d} MiB"))
def small_files(world, size_mib):
    """As a file system says it whose files end at some size; what the hive starts inherits it."""
    hive = psutil.Process(world.home.ps()["hives"][0]["pid"])
    hive.rlimit(psutil.RLIMIT_FSIZE, (size_mib * MIB, size_mib * MIB))


@pytest.fixture
def proxies():
    """Proxies that are gone at the end."""
    open_ = []

    def start(cuts, after_bytes):
        open_.append(cutting(cuts, after_bytes))
        return open_[-1].__enter__()

    yield start
    for one in open_:
        one.__exit__(None, None, None)


@given(parsers.parse("a proxy that cuts the line {count:d} times, each after {size_mib:d} MiB"))
def cutting_proxy(world, proxies, count, size_mib):
    proxy = proxies(count, size_mib * MIB)
    world.seen["proxy"] = proxy
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        world.home.env[name] = proxy.url


@pytest.fixture
def another_home(world, model):
    """A second RBEE_HOME with the first one's store."""
    shared = world.home.env.get("RBEE_MODELS_DIR") or str(world.home.path / "models")
    home = Home(model, RBEE_MODELS_DIR=shared)
    yield home
    home.end()


# --- when -----------------------------------------------------------------------------------


@when("I begin to pull it in another home with the same store")
def pull_elsewhere(world, web, another_home):
    world.seen["pulls"].append(Pull(another_home, web.model.name))


@when(parsers.parse("{count:d} of them wait for another download"))
def waiting(world, count):
    def told():
        return sum("waiting for another download" in one.said for one in world.seen["pulls"])

    eventually(lambda: told() == count, within_s=20)


@when("I press Ctrl-C")
def interrupt(world):
    world.seen["pulls"][-1].process.send_signal(signal.SIGINT)
    world.seen["interrupted_at"] = time.monotonic()


@when("another program fills the disk")
def fill(world):
    """Down to the last byte."""
    folder = world.home.env["RBEE_MODELS_DIR"]
    with open(f"{folder}/of-another", "wb", buffering=0) as file:
        size = MIB
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


@when("the other program makes room")
def make_room(world):
    os.unlink(f"{world.home.env['RBEE_MODELS_DIR']}/of-another")


@when("its pull is killed again and again: the child, the hive or the queen, at random moments")
def killed_often(world, web):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"the moments come from the seed {seed}")
    dice = random.Random(seed)
    world.seen["twice"], world.seen["broken_off"] = [], 0
    for _ in range(3 * KILLS):
        world.seen["broken_off"] += broken_pull(world, web, dice)
        if world.seen["broken_off"] == KILLS:
            break
    before = web.front.sent_twice_bytes
    world.seen["pulls"] = [Pull(world.home, web.model.name)]
    world.seen["pulls"][-1].end()
    world.seen["twice"].append(web.front.sent_twice_bytes - before)


def broken_pull(world, web, dice):
    """Whether a pull was killed before it was done; if not, there is another model to be had."""
    before, size_bytes = web.front.sent_twice_bytes, web.model.path.stat().st_size
    pull = Pull(world.home, web.model.name)
    begun_at = web.front.sent_bytes
    left = max(0, size_bytes * len(web.models) - begun_at + before)
    moment = begun_at + dice.uniform(0, min(left, MOST_BETWEEN_BYTES))
    eventually(
        lambda: web.front.sent_bytes >= moment or pull.process.poll() is not None, within_s=30
    )
    kill(world, dice.choice(VICTIMS))
    code = pull.end()
    world.seen["twice"].append(web.front.sent_twice_bytes - before)
    if code == 0:
        whole(world, web.model)
        web.put(web.made(size_bytes // MIB))
    return code != 0


def kill(world, victim):
    """SIGKILL to whoever of that kind runs here."""
    for process in world.home.processes():
        try:
            if victim in process.cmdline():
                process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue


# --- then -----------------------------------------------------------------------------------


@then("each time at most one part was fetched twice")
def one_part(world):
    assert max(world.seen["twice"]) <= PART_BYTES, world.seen["twice"]
    assert world.seen["broken_off"] == KILLS, "too many of the signals came too late"


@then(parsers.parse("the pull exits with {code:d} within {limit_s:g} s"))
def pull_ends_soon(world, code, limit_s):
    pull = world.seen["pulls"][-1]
    assert pull.end(10) == code, pull.said[-2000:]
    took_s = time.monotonic() - world.seen["interrupted_at"]
    assert took_s < limit_s, took_s


@then("a partial download is listed")
def partial_listed(world):
    (partial,) = [one["partial"] for one in listed(world) if "partial" in one]
    assert partial["size_bytes"] > 0


@then("the pull pauses")
def says_paused(world):
    eventually(lambda: "paused: disk full" in world.seen["pulls"][-1].said, within_s=20)


@then("the disk of the store is empty")
def disk_is_empty(world):
    """But for the lists and locks that the store keeps."""
    assert shutil.disk_usage(world.home.env["RBEE_MODELS_DIR"]).used < MIB


@then(parsers.parse("the model {name} has the digest of the catalogue"))
def catalogue_digest(world, name):
    from tests.model_file import DIGEST

    (found,) = [one for one in listed(world) if one.get("name") == name]
    assert found["digest"] == f"sha256:{DIGEST}"


@then(parsers.parse("the line was cut {count:d} times"))
def was_cut(world, count):
    assert world.seen["proxy"].cuts_made == count
