"""Fixtures: a world per scenario, on a shared home or on one of its own; the story of a failure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.sockets import taken_port
from tests.model_file import model_path
from world import Home, World

pytest_plugins = [
    "steps.arranging",
    "steps.acting",
    "steps.outcomes",
    "steps.answers",
    "steps.workers",
    "steps.selftests",
    "steps.store",
    "steps.machine",
    "steps.swapping",
    "steps.splicing",
    "steps.attached",
    "steps.attached_far",
    "steps.hanging_up",
    "steps.admission",
    "steps.registries",
    "steps.fetching",
    "steps.interrupting",
    "steps.keys",
    "steps.clock",
    "steps.partitions",
    "steps.jobs",
]


@pytest.fixture(scope="session")
def model() -> Path:
    """The real model's file."""
    return model_path()


@pytest.fixture(scope="session")
def shared_home(model: Path) -> Iterator[Home]:
    """One running rbee for all scenarios that leave it as it was."""
    home = Home(model)
    outcome = home.keeper("serve", str(home.file()), "--wait")
    assert outcome.code == 0, str(outcome)
    yield home
    home.end()


@pytest.fixture(scope="session")
def pair_home(model: Path) -> Iterator[Home]:
    """One running rbee with two workers, for scenarios that take them away and wait for others."""
    home = Home(model, RBEE_RESTART_FIRST_S="0.1", RBEE_RETRIES_PER_MINUTE="1000")
    outcome = home.keeper("serve", str(home.file()), "--wait", "--replicas", "2")
    assert outcome.code == 0, str(outcome)
    yield home
    home.end()


@pytest.fixture
def settings() -> dict[str, str]:
    """RBEE_* of a home of its own; filled by Given."""
    return {}


@pytest.fixture
def world(request: pytest.FixtureRequest, settings: dict[str, str]) -> Iterator[World]:
    """The scenario's world: tagged @own it has an RBEE_HOME of its own, removed at its end;
    tagged @pair it shares one with two workers."""
    own = request.node.get_closest_marker("own") is not None
    pair = request.node.get_closest_marker("pair") is not None
    downloads = request.node.get_closest_marker("downloads") is not None
    shared = "pair_home" if pair else "downloading_home" if downloads else "shared_home"
    home = Home(request.getfixturevalue("model")) if own else request.getfixturevalue(shared)
    found = World(home, settings, pair=pair)
    request.node.stash[_HOME] = home
    yield found
    for stream in found.streams:
        stream.hang_up.set()
    if own:
        home.end()


_HOME = pytest.StashKey[Home]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A red scenario tells its story."""
    outcome = yield
    report = outcome.get_result()
    home = item.stash.get(_HOME, None)
    if report.failed and home is not None:
        report.sections.append(("the story", home.story()))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small file system that is mounted read-only."""
    if os.geteuid() != 0:
        pytest.skip("privilege: mounting needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("kernel: tmpfs cannot be mounted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB of its own, writable."""
    if os.geteuid() != 0:
        pytest.skip("privilege: mounting needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("kernel: tmpfs cannot be mounted here")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.fixture
def immutable(tmp_path: Path) -> Iterator[Path]:
    """A folder that even root may not write to, by the file system's own flag."""
    if subprocess.run(["chattr", "+i", str(tmp_path)], check=False, capture_output=True).returncode:
        pytest.skip("kernel: this file system has no immutable flag, or this user may not set it")
    yield tmp_path
    subprocess.run(["chattr", "-i", str(tmp_path)], check=True)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program holds for the length of the scenario."""
    with taken_port() as port:
        yield port
