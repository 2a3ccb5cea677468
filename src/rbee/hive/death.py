"""Why a worker ended: what it left behind, put before `policy.crashes`, or what we ended it for."""

from __future__ import annotations

from rbee.errors import RbeeError
from rbee.hive.worker_run import WorkerRun
from rbee.policy import restart
from rbee.policy.crashes import classify
from rbee.version import VERSION
from rbee.wire.control import ModelWish, Problem
from rbee.wire.problem import to_problem


def cause_of_death(wish: ModelWish, run: WorkerRun) -> RbeeError:
    """The error to report for a process that has ended and that nobody stopped."""
    ended = run.child.ended
    death = classify(
        returncode=ended.returncode if ended else None,
        signal=ended.signal if ended else None,
        log_tail=run.folder.tail().splitlines(),
        oom_kills=run.oom.kills(),
        asked=False,
        model=wish.name,
        worker=run.id,
    )
    return death.error()


def told_or_found(wish: ModelWish, run: WorkerRun) -> Problem:
    """Its own word on why it could not load or serve on; else the cause that it left behind. Who
    kills, only the kernel's counters know: a worker's own word on that is not heard."""
    if run.said is not None and run.said.code != "WORKER_KILLED":
        return run.said
    return to_problem(cause_of_death(wish, run).report)


def late(wish: ModelWish, worker: str, phase: str, limit_s: float) -> RbeeError | None:
    """What a limit that passed is called; None for one that nobody is blamed for."""
    facts = {"model": wish.name, "worker": worker, "limit_s": limit_s}
    if phase == "load":
        return RbeeError("LOADING_TIMEOUT", **facts)
    if phase in ("start", "adoption"):
        return RbeeError("WORKER_START_TIMEOUT", **facts)
    return None


def hung(wish: ModelWish, worker: str, silent_s: float) -> RbeeError:
    return RbeeError("WORKER_HUNG", model=wish.name, worker=worker, silent_s=round(silent_s, 1))


def mismatched(version: str) -> RbeeError:
    """Its process is of another rbee: the installation changed under this hive."""
    return RbeeError(
        "VERSION_MISMATCH",
        one="rbee",
        one_version=VERSION,
        other="its installation",
        other_version=version,
    )


def quarantined(wish: ModelWish, verdict: restart.Quarantine, cause: Problem) -> Problem:
    error = RbeeError(
        "WORKER_QUARANTINED",
        model=wish.name,
        crashes=verdict.crashes,
        window_s=round(verdict.window_s),
        cause=cause.message,
    )
    return to_problem(error.report)
