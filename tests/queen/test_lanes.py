"""The waiting line and the slots, without any network."""

import asyncio

import pytest

from rbee.errors import RbeeError
from rbee.policy.affinity import Warmth
from rbee.queen.lanes import Lanes
from rbee.queen.roster import Roster
from rbee.queen.worker_health import WorkerHealth
from rbee.settings import Timing
from rbee.wire.control import WorkerView

LANE = ("m", "chat")


class World:
    """Lanes over one roster with a clock that a test moves."""

    def __init__(self, queue_limit: int = 100) -> None:
        self.now = 100.0
        self.told: list[tuple[str, int]] = []
        self.happened: list[tuple[str, str]] = []
        self.roster = Roster()
        self.warmth = Warmth()
        self.health = WorkerHealth(
            self.roster,
            Timing(),
            clock=lambda: self.now,
            warmth=self.warmth,
            tell=lambda code, worker, what, done: self.happened.append((code, worker.id)),
        )
        self.lanes = Lanes(
            self.roster,
            self.health,
            self.warmth,
            queue_limit=queue_limit,
            clock=lambda: self.now,
            tell_busy=lambda worker, count: self.told.append((worker, count)),
        )

    def worker(self, id_: str = "w1", state: str = "READY", slots: int = 2) -> None:
        view = WorkerView(id_, "h", *LANE[:1], "ref", LANE[1], state, slots=slots)
        self.roster.put(view)
        self.lanes.pump(LANE)

    def enter(self):
        return self.lanes.enter(LANE, loading_slots=4)


def in_loop(body):
    async def run():
        body()

    asyncio.run(run())


def test_a_free_slot_is_leased_at_once_and_the_worker_told_busy():
    """The first answer of a worker makes it busy, the last one idle; those between say nothing."""

    def body():
        world = World()
        world.worker()
        first, second = world.enter().lease.result(), world.enter().lease.result()
        world.lanes.release(first, served=True)
        world.lanes.release(second, served=True)

        assert world.told == [("w1", 1), ("w1", 0)]

    in_loop(body)


def test_those_who_wait_are_served_in_order():
    """First come, first served; the place in line is true."""

    def body():
        world = World()
        world.worker(slots=1)
        held = world.enter().lease.result()
        second, third = world.enter(), world.enter()
        assert (world.lanes.position(second), world.lanes.position(third)) == (1, 2)

        world.lanes.release(held, served=True)

        assert second.lease.done() and not third.lease.done()
        assert world.lanes.position(third) == 1

    in_loop(body)


def test_a_full_queue_refuses_with_a_measured_time():
    """QUEUE_FULL says how many wait, the limit, and when a place will be free: of answers of 6 s
    nine in ten end within 13.8 s."""

    def body():
        world = World(queue_limit=1)
        world.worker(slots=1)
        held = world.enter().lease.result()
        world.now += 6
        world.lanes.release(held, served=True)
        world.enter()
        world.enter()
        with pytest.raises(RbeeError) as caught:
            world.enter()

        assert caught.value.code == "QUEUE_FULL" and caught.value.facts["retry_after_s"] == 14

    in_loop(body)


def test_who_leaves_gives_back_place_and_slot():
    """A hang-up in line frees the place; a hang-up in the moment of the lease frees the slot."""

    def body():
        world = World()
        world.worker(slots=1)
        leased, waiting = world.enter(), world.enter()
        third = world.enter()
        world.lanes.leave(waiting)
        assert world.lanes.position(third) == 1

        world.lanes.leave(leased)

        assert third.lease.done()

    in_loop(body)


def test_loading_does_not_count_as_waiting():
    """The clock of the queue starts when a worker is ready."""

    def body():
        world = World()
        world.worker(state="LOADING", slots=1)
        world.enter()
        second = world.enter()
        world.now += 50
        assert world.lanes.waited_s(second) == 0
        world.worker(state="READY", slots=1)
        world.now += 7

        assert world.lanes.waited_s(second) == 7

    in_loop(body)


def test_a_model_that_cannot_be_served_answers_all_and_is_remembered():
    """Everybody in line gets the cause; the next one is answered from memory."""

    def body():
        world = World()
        waiting = [world.enter(), world.enter()]
        world.lanes.fail(LANE, RbeeError("MODEL_CORRUPTED", model="m", problem="cut short"))

        assert [one.lease.exception().code for one in waiting] == ["MODEL_CORRUPTED"] * 2
        assert world.lanes.lane(LANE).problem.code == "MODEL_CORRUPTED"
        world.worker()
        assert world.lanes.lane(LANE).problem is None

    in_loop(body)


def test_a_draining_worker_gets_nothing_new():
    """Routing stops the moment the hive says DRAINING."""

    def body():
        world = World()
        world.worker(state="DRAINING")

        assert not world.enter().lease.done()

    in_loop(body)
