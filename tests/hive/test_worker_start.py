"""Promises about a start: a folder, a group with the estimate as its limit, a process in it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rbee.edge.cgroups import place_of
from rbee.errors import RbeeError
from rbee.hive.wish_plan import Plan, Stored, plans
from rbee.hive.worker_run import WorkerRun
from rbee.hive.worker_start import start_run
from rbee.policy.fitting import Sizing
from rbee.policy.memory import Shape, limit_bytes
from rbee.settings import Settings
from rbee.wire.control import Device, EngineView, ModelWish
from tests.hive.surroundings import NoMachine
from tests.small_disk import small_disk

WISH = ModelWish("m", "m:1", ctx=64, parallel=1)
ENGINE = EngineView("llama-cpp", "b1", devices=(Device("cpu", "CPU"),))


def _plan(tmp_path: Path) -> Plan:
    shape = Shape(100 << 20, layers=4, kv_width=64, vocabulary=1000)
    stored = Stored(str(tmp_path / "gone.gguf"), "sha256:1", shape=shape)
    return plans(WISH, stored, ENGINE, Settings(home=str(tmp_path)), 1)[0]


def _limit_of(run: WorkerRun) -> int:
    assert run.group.memory is not None
    v1 = run.group.version == 1
    knob = run.group.memory / ("memory.limit_in_bytes" if v1 else "memory.max")
    return int(knob.read_text())


def test_a_worker_is_bound_by_a_fifth_above_its_estimate(tmp_path: Path) -> None:
    """Its group stands in the tree while it lives, and is gone with it."""

    async def run() -> None:
        machine = NoMachine(tmp_path)
        chosen = _plan(tmp_path)
        started = start_run(machine, WISH, chosen, "w1", 0)
        try:
            if started.group.memory is None:
                missing = "privilege" if os.geteuid() else "kernel"
                pytest.skip(f"{missing}: no cgroup with a memory limit can be made here")
            assert abs(_limit_of(started) - limit_bytes(chosen.need)) < 4096
            assert place_of(started.child.pid).memory == started.group.memory
            found = started.folder.read()
            assert found is not None
            assert found[2].own_bytes == chosen.need.own_bytes
        finally:
            assert await started.clean(tmp_path / "kept") == []
        assert not any(folder.exists() for folder in started.group.folders)

    asyncio.run(run())


def test_a_persons_limit_counts_more_than_the_estimate(tmp_path: Path) -> None:
    """And one whose need is not known has none."""

    async def run() -> None:
        machine = NoMachine(tmp_path)
        machine.settings = replace(machine.settings, worker_memory_bytes=300 << 20)
        started = start_run(machine, WISH, _plan(tmp_path), "w1", 0)
        try:
            if started.group.memory is None:
                missing = "privilege" if os.geteuid() else "kernel"
                pytest.skip(f"{missing}: no cgroup with a memory limit can be made here")
            assert _limit_of(started) == 300 << 20
        finally:
            assert await started.clean(tmp_path / "kept") == []

    asyncio.run(run())
    unknown = replace(_plan(tmp_path), sizing=Sizing(Shape(1 << 20), 0, 64))
    assert not unknown.bounded


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """With 200 KiB free: a worker's orders would fit, a log would not for long."""
    with small_disk(tmp_path / "small") as folder:
        (folder / "ballast").write_bytes(b"x" * (824 << 10))
        yield folder


def test_a_disk_without_room_for_a_log_is_told_before_the_start(full_disk: Path) -> None:
    """The engine says its port in its log: without it the load would never end."""

    async def run() -> None:
        machine = NoMachine(full_disk)
        with pytest.raises(RbeeError) as caught:
            start_run(machine, WISH, _plan(full_disk), "w1", 0)
        assert caught.value.code == "DISK_FULL"
        assert caught.value.facts["needed_bytes"] == 1 << 20
        assert not list(machine.workers.iterdir())

    asyncio.run(run())


def test_a_folder_that_cannot_be_made_is_told_as_a_full_disk(full_disk: Path) -> None:
    """Not a file more fits on it, and nothing is left of the try."""
    (full_disk / "ballast").unlink()
    (full_disk / "workers").mkdir()
    remount = ["mount", "-o", "remount,size=1m,nr_inodes=2", str(full_disk)]
    subprocess.run(remount, check=True)

    async def run() -> None:
        machine = NoMachine(full_disk)
        with pytest.raises(RbeeError) as caught:
            start_run(machine, WISH, _plan(full_disk), "w1", 0)
        assert caught.value.code == "DISK_FULL"
        assert not list(machine.workers.iterdir())

    asyncio.run(run())


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A folder that is there already is somebody else's."""

    async def run() -> None:
        machine = NoMachine(tmp_path)
        (machine.workers / "w1").mkdir(parents=True)
        with pytest.raises(RbeeError) as caught:
            start_run(machine, WISH, _plan(tmp_path), "w1", 0)
        assert caught.value.code == "DISK_IO"

    asyncio.run(run())
