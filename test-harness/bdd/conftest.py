"""Fixtures: a world per scenario, on a shared home or on one of its own; the story of a failure."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_bdd.parser import Scenario, Step

from codes_seen import FOLDER, SEEN, Record, listen
from faults.sockets import taken_port
from tests.model_file import own_copy
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
    "steps.attached_real",
    "steps.attached_tools",
    "steps.hanging_up",
    "steps.admission",
    "steps.registries",
    "steps.fetching",
    "steps.interrupting",
    "steps.keys",
    "steps.clock",
    "steps.partitions",
    "steps.jobs",
    "steps.devices",
    "steps.vulkan",
    "steps.storms",
    "steps.keeping",
    "steps.service",
    "steps.looking",
    "steps.short_memory",
    "steps.crowds",
    "steps.distance",
]


def pytest_configure(config: pytest.Config) -> None:
    """What the scenarios saw is written by the process that the others report to."""
    folder = os.environ.get(FOLDER)
    if folder and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Record(Path(folder)))


@pytest.fixture(scope="session", autouse=True)
def heard() -> Iterator[None]:
    """Everything that rbee says to a scenario is looked at for codes."""
    with pytest.MonkeyPatch.context() as patch:
        listen(patch)
        yield


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model's file, a copy of this process."""
    return own_copy(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One running rbee for all scenarios that leave it as it was."""
    home = Home(own_copy(tmp_path_factory.mktemp("model")))
    outcome = home.keeper("serve", str(home.file()), "--wait")
    assert outcome.code == 0, str(outcome)
    yield home
    home.end()


@pytest.fixture(scope="session")
def pair_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One running rbee with two workers, for scenarios that take them away and wait for others."""
    home = Home(
        own_copy(tmp_path_factory.mktemp("model")),
        RBEE_RESTART_FIRST_S="0.1",
        RBEE_RETRIES_PER_MINUTE="1000",
    )
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
    home.begin_story()
    SEEN.follow(home.path)
    yield found
    for stream in found.streams:
        stream.hang_up.set()
    SEEN.read_log()
    if own:
        home.end()


_HOME = pytest.StashKey[Home]()
_STEPS = pytest.StashKey[str]()


def pytest_runtest_setup() -> None:
    """A scenario begins with nothing seen."""
    SEEN.begin()


def pytest_bdd_before_scenario(request: pytest.FixtureRequest, scenario: Scenario) -> None:
    """The report says which scenario it was, and which codes its own lines name."""
    tables = [step.datatable.raw() for step in scenario.steps if step.datatable]
    lines = [step.name for step in scenario.steps] + [str(rows) for rows in tables]
    words = set(re.findall(r"[A-Z][A-Z0-9_]+", " ".join(lines)))
    request.node.user_properties += [("scenario", scenario.name), ("words", sorted(words))]


def pytest_bdd_step_error(request: pytest.FixtureRequest, scenario: Scenario, step: Step) -> None:
    """How far the scenario had come."""
    lines = []
    for one in scenario.steps:
        mark = "RED " if one is step else "    " if "RED" in "".join(lines) else "ok  "
        lines.append(f"{mark} {one.keyword} {one.name}")
    where = f"{scenario.feature.rel_filename}, line {step.line_number}: {scenario.name}"
    request.node.stash[_STEPS] = "\n".join([where, *lines])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A report at the end says which codes were seen; a red scenario tells its story."""
    if call.excinfo is not None:
        ours = call.excinfo.traceback.filter(lambda entry: "site-packages" not in str(entry.path))
        call.excinfo.traceback = ours or call.excinfo.traceback
    outcome = yield
    report = outcome.get_result()
    if report.when == "teardown":
        report.user_properties.append(("codes", sorted(SEEN.codes)))
    home = item.stash.get(_HOME, None)
    if report.failed and (steps := item.stash.get(_STEPS, "")):
        report.sections.append(("the scenario", steps))
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
