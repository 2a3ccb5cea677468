"""What a real hive does with devices that fail and return; the engine is a double."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rbee.wire import control
from rbee.wire.control import WorkerView
from tests.gpu_double import install, offer
from tests.hive.stage import Stage, stage, wish

pytestmark = pytest.mark.timeout(120)


class Scene:
    """A hive with an engine that has these GPUs."""

    def __init__(self, scene: Stage, folder: Path, model: Path) -> None:
        self.scene = scene
        self.gpus = folder
        self.model = model

    def want(self, **how: object) -> None:
        self.scene.say(control.Want(wish(self.model, **how)))

    async def ready_on(self, device: str) -> WorkerView:
        def one() -> WorkerView | None:
            ready = [one for one in self.scene.workers.values() if one.state == "READY"]
            return next((one for one in ready if [device] == [two.device for two in ready]), None)

        return await self.scene.until(one)

    async def told(self, words: str) -> control.Happened:
        """An event that says so."""

        def one() -> control.Happened | None:
            for message in self.scene.heard:
                if isinstance(message, control.Happened) and words in message.what + message.done:
                    return message
            return None

        return await self.scene.until(one)

    def fails(self, device: str, message: str) -> None:
        (self.gpus / device).write_text(message)

    def is_well(self, device: str) -> None:
        (self.gpus / device).unlink()


def _play(
    folder: Path, model: Path, gpus: tuple[str, ...], story: Callable[[Scene], Awaitable[None]]
) -> None:
    async def run() -> None:
        async with stage(folder / "home") as scene:
            engine = install(folder, *gpus)
            scene.start_hive(RBEE_ENGINE_PATH=str(engine), RBEE_DEVICE_REST_S="0.3")
            await scene.until(lambda: scene.hello)
            done = await scene.call(lambda call: control.Pull(call, f"file://{model}"))
            assert isinstance(done, control.Done), done
            await story(Scene(scene, folder, model))
            scene.say(control.Leave(5.0))
            assert await scene.exit_code(scene.hives[-1]) == 0
            assert scene.leavings() == []

    asyncio.run(run())


def test_a_trial_that_fails_changes_nothing(tmp_path: Path, model_file: Path) -> None:
    """Who serves goes on with the same process, and the pause grows."""

    async def story(hive: Scene) -> None:
        hive.fails("CUDA0", "ROCm error: out of memory")
        hive.want()
        worker = await hive.ready_on("cpu")
        await hive.told("stays where it is")
        assert (await hive.ready_on("cpu")).pid == worker.pid
        assert worker.id in hive.scene.workers
        hive.is_well("CUDA0")
        assert (await hive.ready_on("cuda:0")).degraded == ""

    _play(tmp_path, model_file, ("CUDA0",), story)


def test_a_gpu_that_appears_is_used(tmp_path: Path, model_file: Path) -> None:
    """Asked for and not there: served below it, told, and moved to it when it comes."""

    async def story(hive: Scene) -> None:
        hive.want(device="vulkan:0", fallback=True)
        assert "vulkan:0" in (await hive.ready_on("cpu")).degraded
        await hive.scene.event("MODEL_DEGRADED")
        offer(hive.gpus, "Vulkan0")
        assert (await hive.ready_on("vulkan:0")).degraded == ""

    _play(tmp_path, model_file, (), story)


def test_a_gpu_that_vanished_before_a_load_is_no_crash(tmp_path: Path, model_file: Path) -> None:
    """The engine's list is of yesterday: the worker finds out, and the chain goes on."""

    async def story(hive: Scene) -> None:
        hive.want()
        first = await hive.ready_on("cuda:0")
        offer(hive.gpus)
        hive.scene.say(control.StopWorker("stop", first.id))
        assert "cuda:0" in (await hive.ready_on("cpu")).degraded
        assert (await hive.scene.event("DEVICE_UNAVAILABLE")).outcome == "ok"

    _play(tmp_path, model_file, ("CUDA0",), story)


def test_layers_that_are_left_out_are_told(tmp_path: Path, model_file: Path) -> None:
    """All of them were asked for; a person who sets the number himself gets it in silence."""

    async def story(hive: Scene) -> None:
        (hive.gpus / "layers").write_text("12/31")
        hive.want()
        assert "layers=12 of 31" in (await hive.ready_on("cuda:0")).degraded
        await hive.scene.event("MODEL_DEGRADED")
        hive.want(args=("-ngl", "12"))
        await hive.scene.until(
            lambda: [one.degraded for one in hive.scene.workers.values()] == [""]
        )

    _play(tmp_path, model_file, ("CUDA0",), story)


def test_what_is_asked_for_must_be_in_use(tmp_path: Path, model_file: Path) -> None:
    """An engine that puts nothing on the device: shown as degraded, or refused to who insists."""

    async def story(hive: Scene) -> None:
        hive.fails("CUDA0", "nothing")
        hive.want()
        assert "puts nothing on it" in (await hive.ready_on("cpu")).degraded
        hive.scene.say(control.Unwant("smol"))
        await hive.scene.until(lambda: not hive.scene.workers)
        hive.want(device="cuda:0", fallback=False)
        assert (await hive.scene.unservable()).problem.code == "DEVICE_FAULTY"

    _play(tmp_path, model_file, ("CUDA0",), story)
