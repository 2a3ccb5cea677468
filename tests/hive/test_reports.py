"""Promises about what the queen is told of workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.hive.device_falls import Fall
from rbee.hive.reports import Reports
from rbee.hive.worker_owner import WorkerOwner
from rbee.hive.worker_run import Leak
from rbee.policy import restart
from rbee.policy.worker_life import Event
from rbee.wire.control import FromHive, Happened, ModelWish, Unservable, WorkerChanged, WorkerGone
from rbee.wire.problem import to_problem
from tests.hive.surroundings import NoMachine

WISH = ModelWish("m", "m:1", mode="embedding")
CRASH = to_problem(RbeeError("WORKER_CRASHED", model="m", worker="w1", cause="it fell").report)


def _told(tmp_path: Path, story: Callable[[Reports, WorkerOwner], None]) -> list[FromHive]:
    said: list[FromHive] = []

    async def run() -> None:
        owner = WorkerOwner(WISH, NoMachine(tmp_path))
        owner.id = "w1"
        story(Reports("here", said.append, Log("test", "error")), owner)

    asyncio.run(run())
    return said


def test_only_changes_are_told(tmp_path: Path) -> None:
    """The same view is said once; another state is said again."""

    def story(reports: Reports, owner: WorkerOwner) -> None:
        reports.changed(owner)
        reports.changed(owner)
        owner.life.tell(Event.LISTENING)
        reports.changed(owner)

    said = _told(tmp_path, story)
    assert [m.worker.state for m in said if isinstance(m, WorkerChanged)] == ["STARTING", "READY"]


def test_what_a_hello_told_is_not_told_again(tmp_path: Path) -> None:
    """A view that went with the Hello counts as told."""

    def story(reports: Reports, owner: WorkerOwner) -> None:
        assert reports.view(owner).mode == "embedding"
        reports.changed(owner)

    assert _told(tmp_path, story) == []


def test_each_fault_has_its_outcome(tmp_path: Path) -> None:
    """Cause, what was done, outcome: restarts are ok, what waits for a person is open."""

    def story(reports: Reports, owner: WorkerOwner) -> None:
        reports.died(owner, Fall(CRASH), restart.Again(2.0, restart.Record()))
        reports.died(owner, Fall(CRASH), restart.Again(0.0, restart.Record()))
        reports.died(owner, Fall(CRASH), restart.Quarantine(5, 300.0))
        reports.died(owner, Fall(CRASH), restart.Remember())
        moves = Fall(CRASH, ("cuda:0",), 60.0)
        reports.died(owner, moves, restart.Again(0.0, restart.Record()))
        reports.died(owner, Fall(CRASH, rests_s=9.0), restart.Remember())
        reports.leaked(owner, Leak("port 7"))

    said = [m for m in _told(tmp_path, story) if isinstance(m, Happened)]
    assert [(m.done, m.outcome) for m in said[:3]] == [
        ("started again in 2 s", "ok"),
        ("started again at once", "ok"),
        ("quarantined after 5 crashes", "open"),
    ]
    assert said[3].outcome == "open"
    assert said[4].outcome == "ok" and "cuda:0 rests for 60 s" in said[4].done
    assert (said[5].done, said[5].outcome) == ("its device is tried again in 9 s", "open")
    assert (said[6].code, said[6].what) == (
        "RESOURCE_LEAK",
        "port 7 of an earlier rbee is still here.",
    )
    assert all(m.model == "m" and m.worker == "w1" for m in said)


def test_ends_and_impossible_wishes_are_told(tmp_path: Path) -> None:
    """A gone worker and a wish that cannot be fulfilled name model and mode."""

    def story(reports: Reports, owner: WorkerOwner) -> None:
        reports.gone(owner, "w1", CRASH)
        reports.unservable(WISH, CRASH)

    assert _told(tmp_path, story) == [
        WorkerGone("w1", "m", "embedding", CRASH),
        Unservable("m", "embedding", CRASH),
    ]
