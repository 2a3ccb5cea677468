"""What an end says against the devices of a worker, and where its model goes from there."""

from __future__ import annotations

from dataclasses import dataclass

from rbee.errors import RbeeError
from rbee.hive.device_links import ENGINES_OWN_CHOICE, pinned
from rbee.hive.device_room import DeviceRoom
from rbee.hive.worker_run import WorkerRun
from rbee.policy.devices import faulty
from rbee.policy.fitting import ALL_LAYERS, LAYER_FLAGS
from rbee.wire.control import ModelWish, Problem
from rbee.wire.lifeline import Listening
from rbee.wire.problem import to_problem


@dataclass(frozen=True, slots=True)
class Fall:
    """Why it ended, and what it leaves."""

    problem: Problem
    leaves: tuple[str, ...] = ()
    """Devices that rest now; the next start is on others."""
    rests_s: float = 0.0


def judge(wish: ModelWish, run: WorkerRun | None, problem: Problem, devices: DeviceRoom) -> Fall:
    """A device that a person insists on has no next one: its wish is refused until it is well."""
    if run is None:
        return Fall(problem)
    against = faulty(problem.code, run.spec.device, devices.offered)
    if not against:
        return Fall(problem)
    problem = _with_holders(problem, against, devices)
    why = str(problem.details.get("cause") or problem.details.get("problem") or problem.message)
    rests_s = devices.failed(against, wish, problem.code, why)
    if not pinned(wish):
        return Fall(problem, against, rests_s)
    if problem.code == "GPU_ERROR":
        refusal = RbeeError(
            "DEVICE_FAULTY",
            device=", ".join(against),
            model=wish.name,
            problem=why,
            retry_after_s=round(rests_s, 1),
        )
        return Fall(to_problem(refusal.report), rests_s=rests_s)
    return Fall(problem, rests_s=rests_s)


def _with_holders(problem: Problem, against: tuple[str, ...], devices: DeviceRoom) -> Problem:
    """Too little memory is told with who has it."""
    told = [words for one in against if (words := devices.holders(one))]
    if problem.code != "GPU_OUT_OF_MEMORY" or not told:
        return problem
    facts = {**problem.details, "cause": "; ".join([str(problem.details["cause"]), *told])}
    return to_problem(RbeeError("GPU_OUT_OF_MEMORY", **facts).report)


def unused(run: WorkerRun, said: Listening) -> tuple[str, ...]:
    """Devices that it was started for and that hold nothing of its model."""
    if run.spec.device in ENGINES_OWN_CHOICE:
        return ()
    wanted = run.spec.device.split(",")
    return () if set(wanted) & set(said.devices) else tuple(wanted)


def left_out(run: WorkerRun, said: Listening) -> str:
    """Layers that should be on its devices and are not, in words; empty: all are. Whoever sets
    their number himself gets what he asks for."""
    if said.offloaded is None or run.spec.device in ENGINES_OWN_CHOICE:
        return ""
    there, of_all = said.offloaded
    wanted = of_all if run.spec.gpu_layers == ALL_LAYERS else min(of_all, run.spec.gpu_layers)
    if there >= wanted or LAYER_FLAGS & set(run.spec.args):
        return ""
    return f"layers={there} of {of_all} on the GPU (the engine puts no more there)"


def unavailable(wish: ModelWish, run: WorkerRun, devices: tuple[str, ...]) -> RbeeError:
    return RbeeError(
        "DEVICE_UNAVAILABLE",
        device=", ".join(devices),
        available=["cpu"],
        model=wish.name,
        worker=run.id,
    )
