"""What a real hive does with a device that computes rubbish; the engine is a double."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rbee.wire import control
from tests.hive.stage import Stage, stage, wish
from tests.sick_engine import install

pytestmark = pytest.mark.timeout(120)


async def _vouched_model(scene: Stage, model: Path) -> control.ModelView:
    """The model, stored as if its digest had come from a source."""
    done = await scene.call(lambda call: control.Pull(call, f"file://{model}"))
    assert isinstance(done, control.Done), done
    (page,) = (scene.home.models / "manifests").glob("*.json")
    manifest = msgspec.json.decode(page.read_bytes())
    page.write_bytes(msgspec.json.encode({**manifest, "digest_known": True}))
    return msgspec.convert(done.result, control.ModelView)


async def _hive_with_sick_engine(scene: Stage, folder: Path, model: Path) -> control.ModelView:
    scene.start_hive(RBEE_ENGINE_PATH=str(install(folder)))
    await scene.until(lambda: scene.hello)
    return await _vouched_model(scene, model)


def _on_stage(folder: Path, play: Any) -> None:
    async def run() -> None:
        async with stage(folder / "home") as scene:
            await play(scene)
            scene.say(control.Leave(5.0))
            assert await scene.exit_code(scene.hives[-1]) == 0
            assert scene.leavings() == []

    asyncio.run(run())


def test_a_sick_device_is_left_for_the_next_one(tmp_path: Path, model_file: Path) -> None:
    """DEVICE_FAULTY is told, nobody is served from there, and the CPU serves, said as degraded."""

    async def play(scene: Stage) -> None:
        stored = await _hive_with_sick_engine(scene, tmp_path, model_file)
        scene.say(control.Want(wish(model_file, ref=stored.ref)))
        worker = await scene.ready()
        assert worker.device == "cpu" and "cuda:0" in worker.degraded
        told = await scene.event("DEVICE_FAULTY")
        assert "cuda:0" in told.what and told.outcome == "ok"

    _on_stage(tmp_path, play)


def test_a_device_that_a_person_insists_on_has_no_next_one(
    tmp_path: Path, model_file: Path
) -> None:
    """Without fallback the wish is refused, and nothing else is tried."""

    async def play(scene: Stage) -> None:
        stored = await _hive_with_sick_engine(scene, tmp_path, model_file)
        facts = {"ref": stored.ref, "device": "cuda:0", "fallback": False}
        scene.say(control.Want(wish(model_file, **facts)))
        assert (await scene.unservable()).problem.code == "DEVICE_FAULTY"
        assert not any(worker.state == "READY" for worker in scene.workers.values())

    _on_stage(tmp_path, play)
