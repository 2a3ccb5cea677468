"""Promises about wishes: as many workers as wished, equal wishes change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from rbee.errors import RbeeError
from rbee.hive.roster import MIN_STAY_S
from rbee.hive.worker_owner import WorkerOwner
from rbee.policy.worker_life import Event, State
from rbee.wire.control import ModelWish
from tests.eventually import soon
from tests.hive.surroundings import NoMachine

WISH = ModelWish("m", "m:1", keep_alive_s=0.05)
CORRUPTED = RbeeError("MODEL_CORRUPTED", model="m", problem="it is short")


def _run(tmp_path: Path, story: Callable[[NoMachine], Awaitable[None]]) -> None:
    async def run() -> None:
        await story(NoMachine(tmp_path))

    asyncio.run(run())


def _ids(machine: NoMachine) -> list[str]:
    return [owner.id for owner in machine.roster.owners()]


def test_as_many_workers_as_wished(tmp_path: Path) -> None:
    """Replicas are started, more are added, fewer let the last ones go."""

    async def story(machine: NoMachine) -> None:
        roster = machine.roster
        roster.want(msgspec.structs.replace(WISH, replicas=2))
        assert _ids(machine) == ["w1", "w2"]
        roster.want(msgspec.structs.replace(WISH, replicas=3))
        assert _ids(machine) == ["w1", "w2", "w3"]
        roster.want(WISH)
        await soon(lambda: _ids(machine) == ["w1"])

    _run(tmp_path, story)


def test_an_equal_wish_changes_nothing(tmp_path: Path) -> None:
    """Wanting the same again starts nothing and stops nothing."""

    async def story(machine: NoMachine) -> None:
        for _ in range(5):
            machine.roster.want(WISH)
            machine.roster.welcome((WISH,))
        assert _ids(machine) == ["w1"]
        assert machine.told == ["w1 STARTING"]

    _run(tmp_path, story)


def test_a_changed_wish_drains_the_old_and_starts_new(tmp_path: Path) -> None:
    """Another context is another worker; other models are not touched."""

    async def story(machine: NoMachine) -> None:
        machine.roster.want(WISH)
        machine.roster.want(ModelWish("other", "o:1"))
        machine.roster.want(msgspec.structs.replace(WISH, ctx=64))
        assert sorted(_ids(machine)) == ["w1", "w2", "w3"]
        await soon(lambda: sorted(_ids(machine)) == ["w2", "w3"])

    _run(tmp_path, story)


def test_the_welcome_is_the_whole_truth(tmp_path: Path) -> None:
    """What a queen does not name ends, what she names begins."""

    async def story(machine: NoMachine) -> None:
        machine.roster.want(WISH)
        machine.roster.want(msgspec.structs.replace(WISH, mode="embedding"))
        machine.roster.welcome((ModelWish("other", "o:1"),))
        await soon(lambda: _ids(machine) == ["w3"])

    _run(tmp_path, story)


def test_unwanting_a_model_ends_all_its_modes(tmp_path: Path) -> None:
    """An empty mode means every mode; a named one only that."""

    async def story(machine: NoMachine) -> None:
        for mode in ("chat", "embedding"):
            machine.roster.want(msgspec.structs.replace(WISH, mode=mode))
        machine.roster.unwant("m", "embedding")
        await soon(lambda: _ids(machine) == ["w1"])
        machine.roster.unwant("nobody")
        machine.roster.unwant("m")
        await soon(lambda: _ids(machine) == [])

    _run(tmp_path, story)


def test_a_lasting_failure_is_remembered_until_something_changes(tmp_path: Path) -> None:
    """A damaged file is looked at once; whoever asks again is told from memory."""

    async def story(machine: NoMachine) -> None:
        machine.refusal = CORRUPTED
        machine.roster.want(WISH)
        await soon(lambda: bool(machine.unservable))
        for _ in range(3):
            machine.roster.want(WISH)
            machine.roster.tick()
        assert machine.unservable == [("m", "MODEL_CORRUPTED")] * 4
        assert machine.prepared == 1
        machine.print = "another file"
        machine.refusal = None
        machine.roster.tick()
        await soon(lambda: machine.prepared == 2)
        assert machine.told[-2:] == ["w1 replaced", "w2 STARTING"]

    _run(tmp_path, story)


def test_a_fresh_wish_forgets(tmp_path: Path) -> None:
    """Serving it by hand tries again at once."""

    async def story(machine: NoMachine) -> None:
        machine.refusal = CORRUPTED
        machine.roster.want(WISH)
        await soon(lambda: bool(machine.unservable))
        machine.roster.want(WISH, fresh=True)
        await soon(lambda: machine.prepared == 2)

    _run(tmp_path, story)


def test_five_crashes_are_a_quarantine(tmp_path: Path) -> None:
    """A worker that cannot be started for another reason is tried five times."""

    async def story(machine: NoMachine) -> None:
        machine.refusal = RbeeError("WORKER_CRASHED", model="m", worker="w", cause="no memory")
        machine.roster.want(WISH)
        await soon(lambda: machine.unservable == [("m", "WORKER_QUARANTINED")])
        (owner,) = machine.roster.owners()
        await soon(lambda: owner.state is State.QUARANTINED)
        assert machine.prepared == 5
        assert owner.problem is not None and "no memory" in owner.problem.message

    _run(tmp_path, story)


def test_idle_workers_unload_and_their_wish_is_dropped(tmp_path: Path) -> None:
    """After keep_alive without an answer a worker drains; one that served nobody stays longer."""

    async def story(machine: NoMachine) -> None:
        machine.roster.want(WISH)
        (owner,) = machine.roster.owners()
        owner.tell(Event.LISTENING)
        owner.idle_since -= MIN_STAY_S - 1
        machine.roster.tick()
        assert owner.state is State.READY
        owner.heard_busy(1)
        owner.heard_busy(0)
        machine.roster.tick()
        assert owner.state is State.READY
        owner.idle_since -= WISH.keep_alive_s
        machine.roster.tick()
        assert owner.state is State.DRAINING
        machine.roster.want(WISH)
        assert len(_ids(machine)) == 2

    _run(tmp_path, story)


@pytest.mark.parametrize("at_once", [False, True])
def test_leaving_ends_everything_and_starts_nothing(tmp_path: Path, at_once: bool) -> None:
    """Once it leaves, no wish brings a worker any more."""

    async def story(machine: NoMachine) -> None:
        machine.refusal = CORRUPTED
        machine.roster.want(WISH)
        await soon(lambda: bool(machine.unservable))
        machine.refusal = None
        machine.roster.want(ModelWish("other", "o:1"))
        if at_once:
            machine.roster.stop_now()
        else:
            machine.roster.leave()
        machine.roster.want(WISH)
        await soon(lambda: _ids(machine) == [])

    _run(tmp_path, story)


def test_a_stale_worker_is_replaced(tmp_path: Path) -> None:
    """It drains, another one takes its seat; workers that are not stale stay."""

    async def story(machine: NoMachine) -> None:
        roster = machine.roster
        roster.want(msgspec.structs.replace(WISH, replicas=2))
        roster.renew(lambda owner: owner.id == "w1")
        await soon(lambda: _ids(machine) == ["w2", "w3"])
        roster.renew(lambda owner: False)
        assert _ids(machine) == ["w2", "w3"]

    _run(tmp_path, story)


# --- replacing, and giving way ------------------------------------------------------------------


def _serve(owner: WorkerOwner) -> None:
    """As if its process had loaded."""
    owner.tell(Event.HELLO)
    owner.tell(Event.LISTENING)


def _states(machine: NoMachine) -> dict[str, str]:
    return {owner.id: owner.state.value for owner in machine.roster.owners()}


def test_a_worker_serves_until_its_successor_does(tmp_path: Path) -> None:
    """Another context is loaded beside it; only then it drains."""

    async def story(machine: NoMachine) -> None:
        roster = machine.roster
        roster.want(WISH)
        (old,) = roster.owners()
        _serve(old)
        roster.want(msgspec.structs.replace(WISH, ctx=64))
        assert _states(machine) == {"w1": "READY", "w2": "STARTING"}
        roster.settle()
        assert old.state is State.READY and old.outgoing
        new = roster.find("w2")
        assert new is not None
        _serve(new)
        roster.settle()
        assert old.state is State.DRAINING

    _run(tmp_path, story)


def test_a_successor_that_cannot_load_leaves_the_old_one_serving(tmp_path: Path) -> None:
    """A new version that is damaged takes nothing away, and nobody who waits is refused."""

    async def story(machine: NoMachine) -> None:
        machine.roster.want(WISH)
        (old,) = machine.roster.owners()
        _serve(old)
        machine.refusal = CORRUPTED
        machine.roster.replace(old)
        await soon(lambda: _states(machine).get("w2") == "FAILED")
        machine.roster.settle()
        machine.roster.want(WISH)
        assert old.state is State.READY
        assert machine.unservable == []

    _run(tmp_path, story)


def test_an_outgoing_worker_that_dies_is_not_started_again(tmp_path: Path) -> None:
    """Its successor is on the way already."""

    async def story(machine: NoMachine) -> None:
        machine.roster.want(WISH)
        (old,) = machine.roster.owners()
        _serve(old)
        machine.roster.replace(old)
        old.life.state = State.STARTING
        machine.roster.settle()
        await soon(lambda: _states(machine) == {"w2": "STARTING"})

    _run(tmp_path, story)


def test_who_gives_way_is_not_loaded_again_by_itself(tmp_path: Path) -> None:
    """Its wish ends with it; somebody who asks again brings it back."""

    async def story(machine: NoMachine) -> None:
        machine.roster.want(WISH)
        (owner,) = machine.roster.owners()
        _serve(owner)
        machine.roster.give_way(owner)
        assert owner.state is State.DRAINING and owner.unhurried
        machine.roster.tick()
        assert len(list(machine.roster.owners())) == 1
        machine.roster.want(WISH)
        assert _states(machine) == {"w1": "DRAINING", "w2": "STARTING"}

    _run(tmp_path, story)


def test_one_replica_may_give_way(tmp_path: Path) -> None:
    """The others of the model stay."""

    async def story(machine: NoMachine) -> None:
        machine.roster.want(msgspec.structs.replace(WISH, replicas=2, keep_alive_s=300.0))
        one, other = machine.roster.owners()
        _serve(one)
        _serve(other)
        machine.roster.give_way(one)
        machine.roster.tick()
        assert _states(machine) == {"w2": "READY", "w1": "DRAINING"}

    _run(tmp_path, story)


def test_workers_of_a_damaged_file_drain_at_once(tmp_path: Path) -> None:
    """What may have read rot does not serve on, successor or not."""

    async def story(machine: NoMachine) -> None:
        machine.roster.want(WISH)
        (old,) = machine.roster.owners()
        _serve(old)
        machine.roster.renew(lambda owner: owner is old, damaged=True)
        assert _states(machine) == {"w2": "STARTING", "w1": "DRAINING"}

    _run(tmp_path, story)


def _trial(machine: NoMachine) -> tuple[WorkerOwner, WorkerOwner]:
    """One that serves, and one that tries a device beside it."""
    machine.roster.want(WISH)
    (old,) = machine.roster.owners()
    old.tell(Event.LISTENING)
    machine.roster.replace(old, trial="cuda:0")
    (new,) = [one for one in machine.roster.owners() if one is not old]
    assert new.trial == "cuda:0" and old.outgoing
    return old, new


def test_a_trial_that_comes_to_nothing_is_undone(tmp_path: Path) -> None:
    """Who served keeps its place, and the one that tried is gone."""

    async def story(machine: NoMachine) -> None:
        old, new = _trial(machine)
        machine.roster.give_back(new)
        machine.roster.settle()
        await soon(lambda: list(machine.roster.owners()) == [old])
        assert old.state is State.READY and not old.outgoing

    _run(tmp_path, story)


def test_a_trial_whose_predecessor_is_gone_goes_on_elsewhere(tmp_path: Path) -> None:
    """Somebody has to serve: it is started again without the device."""

    async def story(machine: NoMachine) -> None:
        old, new = _trial(machine)
        await soon(lambda: machine.prepared == 2)
        old.tell(Event.HUNG)
        old.tell(Event.UNWANTED)
        await old.gone.wait()
        new.mismatched("other")
        before = machine.prepared
        machine.roster.give_back(new)
        await soon(lambda: machine.prepared > before)
        assert new.trial == "" and new in list(machine.roster.owners())

    _run(tmp_path, story)
