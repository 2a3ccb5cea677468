"""The waiting line and the slots, without any network."""

import asyncio

import pytest

from rbee.errors import RbeeError
from rbee.policy.admission import Claim
from rbee.policy.affinity import Warmth, conversation_of
from rbee.policy.pressure import Memory
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

    def enter(self, **how):
        claim = Claim(**how)
        return self.lanes.enter(LANE, loading_slots=4, claim=claim)

    def serve(self, lease, took_s: float) -> None:
        self.now = max(self.now, lease.since + took_s)
        self.lanes.release(lease, served=True)


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
    nine in ten end within 13.8 s, and one answer is not much to go by."""

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

        assert caught.value.code == "QUEUE_FULL" and caught.value.facts["retry_after_s"] == 18

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


def test_keys_take_turns_at_the_slots():
    """Who came with ten requests waits for its second until another had its first."""

    def body():
        world = World()
        world.worker(slots=1)
        held = world.enter(key_id="a").lease.result()
        mine = [world.enter(key_id="a") for _ in range(3)]
        other = world.enter(key_id="b")
        assert [world.lanes.position(one) for one in (*mine, other)] == [1, 3, 4, 2]

        world.serve(held, 1)
        world.serve(mine[0].lease.result(), 1)

        assert other.lease.done() and not mine[1].lease.done()

    in_loop(body)


def test_a_full_line_makes_room_for_a_key_that_has_less():
    """The last of the greedy key gets QUEUE_FULL with its time; the other one is in line."""

    def body():
        world = World(queue_limit=3)
        world.worker(slots=1)
        world.enter(key_id="a")
        mine = [world.enter(key_id="a") for _ in range(3)]
        other = world.enter(key_id="b")

        assert mine[2].lease.exception().code == "QUEUE_FULL"
        assert mine[2].lease.exception().facts["retry_after_s"] >= 1
        assert world.lanes.position(other) and not mine[1].lease.done()

    in_loop(body)


def test_a_second_attempt_goes_first_and_is_never_refused():
    """What was begun is not sent back to the end of the line, nor away from a full one."""

    def body():
        world = World(queue_limit=1)
        world.worker(slots=1)
        held = world.enter().lease.result()
        waiting = world.enter()
        again = world.lanes.enter(LANE, loading_slots=4, again=True)
        assert world.lanes.position(again) == 1

        world.serve(held, 1)

        assert again.lease.done() and not waiting.lease.done()

    in_loop(body)


def test_one_that_cannot_use_the_free_slot_does_not_hold_up_the_next():
    """The first in line was there in vain and waits for the other worker."""

    def body():
        world = World()
        world.worker("w1", slots=1)
        world.worker("w2", slots=1)
        held = {lease.worker.id: lease for lease in (world.enter().lease.result() for _ in "12")}
        picky = world.lanes.enter(LANE, loading_slots=4, tried=["w1"], again=True)
        second = world.enter()

        world.serve(held["w1"], 1)

        assert second.lease.result().worker.id == "w1" and not picky.lease.done()
        world.serve(held["w2"], 1)
        assert picky.lease.result().worker.id == "w2"

    in_loop(body)


def test_a_deadline_that_the_line_cannot_meet_is_refused_at_once():
    """DEADLINE_UNREACHABLE, with both times; one that can be met waits."""

    def body():
        world = World()
        world.worker(slots=1)
        world.serve(world.enter().lease.result(), 10)
        world.enter()
        for _ in range(9):
            world.enter()
        with pytest.raises(RbeeError) as caught:
            world.enter(deadline_at=world.now + 20, deadline_s=20)

        assert caught.value.code == "DEADLINE_UNREACHABLE"
        assert (caught.value.facts["expected_s"], caught.value.facts["deadline_s"]) == (100.0, 20)
        assert world.lanes.position(world.enter(deadline_at=world.now + 95)) == 10

    in_loop(body)


def test_the_wait_is_told_from_what_was_measured():
    """Place times the time of one start; nothing is said before anything ended."""

    def body():
        world = World()
        world.worker(slots=1)
        held = world.enter().lease.result()
        assert world.lanes.expected_wait_s(LANE, 3) is None
        world.serve(held, 4)
        assert world.lanes.expected_wait_s(LANE, 3) == 12

    in_loop(body)


def test_short_memory_makes_lines_shorter_and_says_so():
    """QUEUE_FULL names the present limit and why it is not the usual one."""

    def body():
        world = World(queue_limit=2)
        world.worker(slots=1)
        world.enter()
        assert world.lanes.press(Memory(available_share=0.03))
        world.enter()
        with pytest.raises(RbeeError) as caught:
            world.enter(key_id="b")

        assert caught.value.facts["limit"] == 1 and "memory is short" in str(caught.value)
        assert not world.lanes.press(Memory(available_share=0.5))

    in_loop(body)


def test_a_chat_comes_back_to_the_worker_that_read_it():
    """As long as that has a slot; with none free the turn goes elsewhere at once."""

    def body():
        world = World()
        world.worker("w1", slots=1)
        world.worker("w2", slots=1)
        said = [{"role": "user", "content": "word " * 300}]
        first = conversation_of({"messages": said})
        lease = world.enter(conversation=first).lease.result()
        world.health.ended(lease, None, first_token_s=0.5)
        world.serve(lease, 1)
        for _ in range(3):
            again = world.enter(conversation=conversation_of({"messages": [*said, said[0]]}))
            assert again.lease.result().worker.id == lease.worker.id
            world.lanes.release(again.lease.result(), served=True)
        world.enter(conversation=first)
        other = world.enter(conversation=first).lease.result()

        assert other.worker.id != lease.worker.id

    in_loop(body)


def test_those_in_line_hear_that_all_workers_are_cut_off():
    """CIRCUIT_OPEN for who waits and who comes; a worker that is loading is hope."""

    def body():
        world = World()
        world.worker(slots=1)
        for _ in range(4):
            lease = world.enter().lease.result()
            world.health.ended(lease, "WORKER_LOST")
            world.lanes.release(lease, served=False)
        lease = world.enter().lease.result()
        waiting = world.enter()
        world.health.ended(lease, "WORKER_LOST")
        world.lanes.release(lease, served=False)
        assert waiting.lease.exception().code == "CIRCUIT_OPEN"
        with pytest.raises(RbeeError) as caught:
            world.enter()
        assert caught.value.code == "CIRCUIT_OPEN" and caught.value.facts["retry_after_s"] == 10
        world.worker("w2", state="LOADING")
        assert not world.enter().lease.done()

    in_loop(body)


def test_what_makes_no_tokens_says_nothing_of_the_wait():
    """A hundred tokenizings of 2 ms do not make an answer of 10 s look short."""

    def body():
        world = World()
        world.worker(slots=1)
        world.serve(world.enter().lease.result(), 10)
        for _ in range(100):
            world.serve(world.enter(brief=True).lease.result(), 0.002)

        assert world.lanes.expected_wait_s(LANE, 1) == 10

    in_loop(body)
