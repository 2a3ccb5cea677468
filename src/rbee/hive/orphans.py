"""Workers of an earlier hive: taken back if they are who they say, ended otherwise.

A worker whose hive was killed goes on serving and dials the same socket again. Its folder says
which process it is (pid and start time); the kernel says who dials. What has a folder and no
process is cleaned up.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

from rbee.edge import child, strays
from rbee.edge.cgroups import place_of
from rbee.edge.process_table import group_members, kill_group, start_time
from rbee.edge.worker_cgroup import WorkerCgroup, left_over
from rbee.hive.wish_plan import HERE
from rbee.hive.worker_folder import Birth, WorkerFolder
from rbee.hive.worker_run import WorkerRun
from rbee.policy.memory import Need

ADOPT_WITHIN_S = 3.0
"""A worker dials again every 0.2 s; one that does not within this is not one of ours any more."""


def find_orphans(workers: Path, kept_logs: Path) -> Iterator[tuple[WorkerRun, Birth]]:
    """Processes that still run; the leavings of the others are removed on the way."""
    alive: list[Path] = []
    for folder in WorkerFolder.all_in(workers):
        found = folder.read()
        if found is None:
            folder.retire(kept_logs)
            continue
        spec, key, birth = found
        process = child.find(birth.pid, birth.started_at)
        if process is None:
            _end_rest_of_group(birth.pid)
            strays.end(folder.mark)
            folder.retire(kept_logs)
            continue
        group = WorkerCgroup.of(process.pid, str(workers), folder.id)
        alive += group.folders
        run = WorkerRun(
            folder,
            spec,
            key,
            process,
            degraded=birth.degraded,
            better=birth.better,
            claims=_claims(birth),
            group=group,
            adopted=True,
        )
        yield run, birth
    _end_groups(workers, alive)


def _claims(birth: Birth) -> dict[str, Need]:
    here = {HERE: Need(birth.weights_bytes, birth.own_bytes)} if birth.own_bytes else {}
    return {**here, **{one: Need(0, size) for one, size in birth.device_bytes.items()}}


def _end_rest_of_group(group: int) -> None:
    """A dead leader's children. While they live no other process can get the leader's number;
    if it has one now, the group is a stranger's."""
    if start_time(group) is None and group_members(group):
        kill_group(group, signal.SIGKILL)


def _end_groups(workers: Path, alive: list[Path]) -> None:
    """Control groups of dead workers, with whoever is still in them."""
    for group in left_over(str(workers), place_of("self")):
        if not set(group.folders) & set(alive):
            group.kill()
            group.remove()
