"""The cause of a worker's unasked end: what it left behind, put before `policy.crashes`."""

from __future__ import annotations

from rbee.errors import RbeeError
from rbee.hive.worker_run import WorkerRun
from rbee.policy.crashes import classify
from rbee.wire.control import ModelWish


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
