"""What a real hive promises its queen, with real workers and a real model.

The test is the queen: it listens on the control socket and speaks the protocol.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from rbee.edge.process_table import group_members, port_listening
from rbee.errors import RbeeError
from rbee.wire import control
from rbee.wire.control import WorkerView
from rbee.wire.problem import to_problem
from tests.hive.stage import Stage, stage, wish

pytestmark = pytest.mark.timeout(180)


def _complete(worker: WorkerView, tokens: int = 4) -> str:
    """A few tokens, straight from a worker."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{worker.port}/completion",
        data=json.dumps({"prompt": "Once upon a time", "n_predict": tokens}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {worker.key}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.loads(answer.read())["content"])


async def _store(scene: Stage, model: Path) -> control.ModelView:
    done = await scene.call(lambda call: control.Pull(call, f"file://{model}"))
    assert isinstance(done, control.Done), done
    await scene.until(lambda: any(isinstance(m, control.ModelsChanged) for m in scene.heard))
    return next(m.models[0] for m in scene.heard if isinstance(m, control.ModelsChanged))


async def _hive_with_model(scene: Stage, model: Path, **times: str) -> control.ModelView:
    scene.start_hive(**times)
    await scene.until(lambda: scene.hello)
    return await _store(scene, model)


async def _leave(scene: Stage) -> None:
    """Leave, and nothing is left."""
    pids = [worker.pid for worker in scene.workers.values() if worker.pid]
    scene.say(control.Leave(5.0))
    assert await scene.exit_code(scene.hives[-1]) == 0
    assert scene.leavings() == []
    assert "mistake" not in scene.hive_log() and "failed" not in scene.hive_log()
    assert not [pid for pid in pids if group_members(pid)]


def test_a_wish_is_fulfilled_kept_and_ended(tmp_path: Path, model_file: Path) -> None:
    """Want brings a serving worker, a killed one is replaced, Unwant takes it away whole."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            stored = await _hive_with_model(scene, model_file)
            scene.say(control.Want(wish(model_file, ref=stored.ref)))
            first = await scene.ready()
            assert first.digest == stored.digest
            assert (first.slots, first.device, first.degraded) == (1, "cpu", "")
            assert await asyncio.to_thread(_complete, first)

            scene.say(control.Want(wish(model_file, ref=stored.ref)))
            logs = await scene.call(lambda call: control.Logs(call, first.id, 20))
            assert isinstance(logs, control.Done) and 0 < len(logs.result) <= 20
            assert list(scene.workers) == [first.id]

            os.kill(first.pid, signal.SIGKILL)
            second = await scene.ready(other_than=first.pid)
            assert second.id != first.id and second.restarts == 1
            assert first.id not in scene.workers
            event = await scene.event("WORKER_KILLED")
            assert event.outcome == "ok" and event.worker == first.id
            assert await asyncio.to_thread(_complete, second)

            old_log = await scene.call(lambda call: control.Logs(call, first.id, 5))
            assert isinstance(old_log, control.Done) and old_log.result
            scene.say(control.Unwant("smol"))
            await scene.until(lambda: not scene.workers)
            assert not port_listening(second.port)
            assert list(scene.home.workers.iterdir()) == []
            await _leave(scene)

    asyncio.run(run())


def test_an_idle_worker_unloads_but_not_while_it_serves(tmp_path: Path, model_file: Path) -> None:
    """After keep_alive without an answer the worker drains and its wish is dropped."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            stored = await _hive_with_model(scene, model_file)
            scene.say(control.Want(wish(model_file, ref=stored.ref, keep_alive_s=0.5)))
            worker = await scene.ready()
            scene.say(control.Busy(worker.id, 1))
            await scene.until(lambda: scene.workers[worker.id].state == "BUSY")
            until = time.monotonic() + 2.0
            await scene.until(lambda: time.monotonic() > until)
            assert scene.workers[worker.id].state == "BUSY"
            scene.say(control.Busy(worker.id, 0))
            await scene.until(lambda: not scene.workers)
            gone = [m for m in scene.heard if isinstance(m, control.WorkerGone)]
            assert [one.problem for one in gone] == [None]
            assert not [m for m in scene.heard if isinstance(m, control.Happened)]
            await _leave(scene)

    asyncio.run(run())


def test_a_killed_hive_takes_its_workers_back(tmp_path: Path, model_file: Path) -> None:
    """After SIGKILL of the hive the next one has the same worker, serving, without a load."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            stored = await _hive_with_model(scene, model_file)
            wanted = wish(model_file, ref=stored.ref)
            scene.wishes = (wanted,)
            scene.say(control.Want(wanted))
            before = await scene.ready()
            scene.hives[-1].kill()
            scene.hives[-1].wait()
            scene.start_hive()
            await scene.until(lambda: scene.hellos == 2)
            after = await scene.ready()
            assert (after.id, after.pid, after.port) == (before.id, before.pid, before.port)
            assert after.key == before.key and after.digest == before.digest
            assert await asyncio.to_thread(_complete, after)
            os.kill(after.pid, signal.SIGKILL)
            assert (await scene.ready(other_than=after.pid)).id != after.id
            await _leave(scene)

    asyncio.run(run())


def test_a_worker_that_does_not_dial_again_is_replaced(tmp_path: Path, model_file: Path) -> None:
    """An orphan that is alive and silent is ended as a group; its wish gets another worker."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            stored = await _hive_with_model(scene, model_file)
            scene.wishes = (wish(model_file, ref=stored.ref),)
            scene.say(control.Want(scene.wishes[0]))
            before = await scene.ready()
            leader = os.getpgid(before.pid)
            os.kill(leader, signal.SIGSTOP)
            scene.hives[-1].kill()
            scene.hives[-1].wait()
            scene.start_hive()
            event = await scene.event("WORKER_START_TIMEOUT")
            assert event.worker == before.id
            assert (await scene.ready(other_than=before.pid)).id != before.id
            assert not group_members(leader)
            await _leave(scene)

    asyncio.run(run())


def test_an_adopted_worker_that_nobody_wishes_drains(tmp_path: Path, model_file: Path) -> None:
    """The Welcome is the whole desired state, also for workers of an earlier hive."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            stored = await _hive_with_model(scene, model_file)
            scene.say(control.Want(wish(model_file, ref=stored.ref)))
            before = await scene.ready()
            scene.hives[-1].kill()
            scene.hives[-1].wait()
            scene.start_hive()
            await scene.until(lambda: scene.hellos == 2 and not scene.workers)
            assert not port_listening(before.port)
            await _leave(scene)

    asyncio.run(run())


def test_a_hung_worker_is_ended_and_replaced(tmp_path: Path, model_file: Path) -> None:
    """An idle worker that answers no probe is killed as a group and started again."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            stored = await _hive_with_model(scene, model_file, RBEE_SILENCE_S="1")
            scene.say(control.Want(wish(model_file, ref=stored.ref)))
            first = await scene.ready()
            os.kill(first.pid, signal.SIGSTOP)
            event = await scene.event("WORKER_HUNG")
            assert event.worker == first.id
            second = await scene.ready(other_than=first.pid)
            scene.say(control.Suspect(second.id, _hung(second)))
            assert (await scene.ready(other_than=second.pid)).restarts == 2
            await _leave(scene)

    asyncio.run(run())


def _hung(worker: WorkerView) -> control.Problem:
    error = RbeeError("WORKER_HUNG", model=worker.model, worker=worker.id, silent_s=4.0)
    return to_problem(error.report)


def test_a_damaged_model_is_refused_once_and_remembered(tmp_path: Path, model_file: Path) -> None:
    """A load that fails for good is not repeated; whoever asks again is told from memory."""

    async def run() -> None:
        async with stage(tmp_path / "home") as scene:
            damaged = tmp_path / "smol.gguf"
            damaged.write_bytes(model_file.read_bytes())
            stored = await _hive_with_model(scene, damaged)
            with damaged.open("r+b") as file:
                file.truncate(50_000_000)
            scene.say(control.Want(wish(damaged, ref=stored.ref)))
            told = await scene.unservable()
            assert told.problem.code == "MODEL_CORRUPTED"
            scene.heard.clear()
            scene.say(control.Want(wish(damaged, ref=stored.ref)))
            assert (await scene.unservable()).problem.code == "MODEL_CORRUPTED"
            assert not [m for m in scene.heard if isinstance(m, control.WorkerChanged)]
            await _leave(scene)

    asyncio.run(run())


def test_what_cannot_be_served_is_said(tmp_path: Path, model_file: Path) -> None:
    """An unknown model and a device that is not here are answered, not waited for."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            stored = await _hive_with_model(scene, model_file)
            scene.say(control.Want(wish(model_file, ref="nobody:7b", name="nobody")))
            assert (await scene.unservable()).problem.code == "MODEL_NOT_FOUND"
            scene.heard.clear()
            scene.say(
                control.Want(wish(model_file, ref=stored.ref, device="cuda:7", fallback=False))
            )
            assert (await scene.unservable()).problem.code == "DEVICE_UNAVAILABLE"
            scene.say(control.Want(wish(model_file, ref=stored.ref, device="cuda:7")))
            worker = await scene.ready()
            assert "cuda:7" in worker.degraded
            missing = await scene.call(lambda call: control.StopWorker(call, "w999"))
            assert isinstance(missing, control.Failed)
            assert missing.problem.code == "WORKER_NOT_FOUND"
            stopped = await scene.call(lambda call: control.StopWorker(call, worker.id))
            assert isinstance(stopped, control.Done)
            assert (await scene.ready(other_than=worker.pid)).id != worker.id
            await _leave(scene)

    asyncio.run(run())


def test_a_worker_that_keeps_crashing_is_quarantined(tmp_path: Path, model_file: Path) -> None:
    """Five crashes in five minutes end the restarts; a fresh wish starts it again."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            stored = await _hive_with_model(scene, model_file)
            wanted = wish(model_file, ref=stored.ref)
            scene.say(control.Want(wanted))
            pid = 0
            for _ in range(5):
                worker = await scene.ready(other_than=pid)
                pid = worker.pid
                os.kill(pid, signal.SIGSEGV)
            told = await scene.unservable()
            assert told.problem.code == "WORKER_QUARANTINED"
            await scene.until(
                lambda: [one.state for one in scene.workers.values()] == ["QUARANTINED"]
            )
            scene.say(control.Want(wanted, fresh=True))
            assert (await scene.ready(other_than=pid)).state == "READY"
            await _leave(scene)

    asyncio.run(run())


def test_a_queen_of_another_version_is_left_at_once(tmp_path: Path) -> None:
    """A refused hive says why in its log and ends with code 3, so that the queen can tell."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            error = RbeeError(
                "VERSION_MISMATCH", one="rbee", one_version="1", other="hive", other_version="2"
            )
            scene.answer = control.Refused(to_problem(error.report))
            assert await scene.exit_code(scene.start_hive()) == 3
            assert "is version" in scene.hive_log()

    asyncio.run(run())


def test_a_home_has_one_hive(tmp_path: Path) -> None:
    """A second hive of the same home ends with code 4 and touches nothing."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            first = scene.start_hive()
            await scene.until(lambda: scene.hello)
            assert await scene.exit_code(scene.start_hive()) == 4
            assert json.loads(scene.home.hive_file.read_bytes())["pid"] == first.pid
            assert first.poll() is None
            first.terminate()
            assert await scene.exit_code(first) == 0

    asyncio.run(run())


def test_a_hive_without_a_queen_ends(tmp_path: Path) -> None:
    """Nobody's hive drains and exits after orphan_s, leaving nothing."""

    async def run() -> None:
        async with stage(tmp_path / "home") as scene:
            scene.close()
            scene.home.control_socket.unlink()
            assert await scene.exit_code(scene.start_hive(RBEE_ORPHAN_S="0.5")) == 0
            assert scene.leavings() == []

    asyncio.run(run())


def test_the_key_is_needed(tmp_path: Path, model_file: Path) -> None:
    """A worker answers only to its key, which nobody else can read."""

    async def run() -> None:
        async with stage(tmp_path) as scene:
            stored = await _hive_with_model(scene, model_file)
            scene.say(control.Want(wish(model_file, ref=stored.ref)))
            worker = await scene.ready()
            stranger = control.WorkerView(
                "w0", "", "smol", "", "chat", "READY", port=worker.port, key="guess"
            )
            with pytest.raises(urllib.error.HTTPError, match="401"):
                await asyncio.to_thread(_complete, stranger)
            folder = scene.home.workers / worker.id
            assert folder.stat().st_mode & 0o077 == 0
            for file in folder.iterdir():
                assert file.stat().st_mode & 0o077 == 0, file
            assert worker.key not in scene.hive_log()
            await _leave(scene)

    asyncio.run(run())
