"""From a plan to a process: folder, orders, key, control group, birth."""

from __future__ import annotations

import secrets

from rbee.edge.cgroups import place_of
from rbee.edge.disk import need_room, translated
from rbee.edge.worker_cgroup import WorkerCgroup
from rbee.errors import RbeeError
from rbee.hive.surroundings import Surroundings
from rbee.hive.wish_plan import Plan, spec
from rbee.hive.worker_folder import WorkerFolder
from rbee.hive.worker_run import WorkerRun
from rbee.policy.memory import limit_bytes
from rbee.wire.control import ModelWish

FOLDER_BYTES = 1 << 20
"""What a worker's folder holds once it is loaded. The port stands in the engine's log: with no room
for that line a load stood at 99 % until its limit."""


def start_run(
    hive: Surroundings, wish: ModelWish, plan: Plan, worker_id: str, restarts: int
) -> WorkerRun:
    """Start it. Raises PORT_TAKEN, DISK_…, WORKER_CRASHED when no process could be made."""
    port = hive.next_port()
    try:
        folder = WorkerFolder.create(hive.workers, worker_id)
    except OSError as error:
        raise translated(error, "write to", hive.workers, FOLDER_BYTES) from error
    try:
        need_room(folder.path, FOLDER_BYTES, 0)
    except RbeeError:
        folder.retire(hive.kept_logs)
        raise
    orders = spec(
        wish,
        plan,
        worker_id=worker_id,
        lifeline=str(hive.lifeline),
        log=str(folder.log),
        port=port,
        orphan_s=hive.settings.timing.orphan_s,
    )
    limit = hive.settings.worker_memory_bytes or (limit_bytes(plan.need) if plan.bounded else 0)
    group = WorkerCgroup.make(str(hive.workers), worker_id, limit, place_of("self"))
    try:
        return WorkerRun.start(
            folder,
            orders,
            secrets.token_urlsafe(32),
            wish=wish,
            restarts=restarts,
            degraded=plan.degraded,
            better=plan.better,
            claims=plan.claims,
            group=group,
        )
    except OSError as error:
        group.remove()
        folder.retire(hive.kept_logs)
        raise _not_started(wish, worker_id, error) from error


def _not_started(wish: ModelWish, worker_id: str, error: OSError) -> RbeeError:
    cause = f"it could not be started ({error.strerror})"
    return RbeeError("WORKER_CRASHED", model=wish.name, worker=worker_id, cause=cause)
