"""What each worker may have, by how its attempts ended."""

from __future__ import annotations

import pytest

from rbee.policy.admission import Claim
from rbee.policy.affinity import Warmth, conversation_of
from rbee.queen.roster import Lease, Roster
from rbee.queen.worker_health import WorkerHealth
from rbee.settings import Timing
from rbee.wire.control import WorkerView

LANE = ("m", "chat")
LONG = conversation_of({"prompt": "x" * 2000})
TIMING = Timing(breaker_open_s=60, breaker_open_local_s=10, slow_start_s=30)


class World:
    """Health over a roster, with a clock that a test moves."""

    def __init__(self, *workers: str, engine: str = "llama-cpp") -> None:
        self.now = 0.0
        self.told: list[tuple[str, str]] = []
        self.roster = Roster()
        self.warmth = Warmth()
        self.health = WorkerHealth(
            self.roster,
            TIMING,
            clock=lambda: self.now,
            warmth=self.warmth,
            tell=lambda code, worker, what, done: self.told.append((code, what)),
        )
        for name in workers:
            self.put(name, engine=engine)

    def put(self, name: str, pid: int = 1, **facts: str) -> None:
        view = WorkerView(name, "h", *LANE[:1], "ref", LANE[1], "READY", pid=pid, slots=4, **facts)
        self.roster.put(view)
        self.health.learn(view)

    def lease(self, name: str) -> Lease:
        worker = self.roster.workers[name]
        return Lease(worker, LANE, self.now, trial=self.health.let_through(worker))

    def end(self, name: str, code: str | None, times: int = 1, **measured: float) -> None:
        for _ in range(times):
            self.health.ended(self.lease(name), code, **measured)

    def room(self, name: str) -> int:
        candidate = self.roster.board(LANE).get(name)
        assert candidate is not None
        return candidate.limit

    def pass_s(self, seconds: float) -> None:
        self.now += seconds
        self.health.look()


def test_five_faults_cut_a_worker_off():
    """It gets nothing, which is said as an event; after its time one attempt may try it."""
    world = World("w1", "w2")
    world.end("w1", "WORKER_LOST", 5)

    assert world.room("w1") == 0 and world.room("w2") == 4
    assert world.told[0][0] == "CIRCUIT_OPEN" and "WORKER_LOST" in world.told[0][1]
    assert world.health.view(world.roster.workers["w1"])["retry_in_s"] == 10
    world.pass_s(10)
    assert world.lease("w1").trial
    assert world.room("w1") == 0


@pytest.mark.parametrize(("engine", "open_s"), [("llama-cpp", 10), ("attached", 60)])
def test_a_worker_of_our_own_is_tried_again_sooner(engine, open_s):
    """The hive sees its process; of a server that somebody else runs nobody knows."""
    world = World("w1", engine=engine)
    world.end("w1", "WORKER_LOST", 5)
    world.pass_s(open_s - 0.1)
    assert world.room("w1") == 0
    world.pass_s(0.1)

    assert world.room("w1") == 4


def test_a_new_process_has_a_clean_record():
    """What the last life did is not held against the next, and it has read nothing yet."""
    world = World("w1")
    world.warmth.read("w1", LONG)
    old = world.lease("w1")
    world.end("w1", "WORKER_LOST", 5)
    world.put("w1", pid=2)
    world.health.ended(old, "WORKER_LOST")

    assert world.room("w1") == 4
    assert world.health.view(world.roster.workers["w1"])["breaker"] == "closed"
    assert not world.warmth.saved(LONG)


def test_who_was_cut_off_begins_slowly_beside_others():
    """A quarter, a half, three quarters, all; alone it has all at once."""
    world = World("w1", "w2")
    world.end("w1", "WORKER_LOST", 5)
    world.pass_s(10)
    world.end("w1", None)
    rooms = []
    for _ in range(4):
        rooms.append(world.room("w1"))
        world.pass_s(10)
    assert rooms == [1, 2, 3, 4]

    alone = World("w1")
    alone.end("w1", "WORKER_LOST", 5)
    alone.pass_s(10)
    alone.end("w1", None)
    assert alone.room("w1") == 4


def test_a_trial_without_a_verdict_leaves_the_door_open_for_the_next():
    """The client hung up, or its request was bad: nothing is known."""
    world = World("w1")
    world.end("w1", "WORKER_LOST", 5)
    world.pass_s(10)
    world.end("w1", "CANCELLED")
    assert world.room("w1") == 4
    world.end("w1", "WORKER_LOST")

    assert world.room("w1") == 0


def test_shut_is_said_only_when_nothing_is_to_be_hoped_for():
    """Another worker, a trial under way or one that is coming: there is hope."""
    world = World("w1", "w2")
    world.end("w1", "WORKER_LOST", 5)
    assert world.health.shut_for_s(LANE) is None
    world.now += 3
    world.end("w2", "WORKER_LOST", 5)
    assert world.health.shut_for_s(LANE) == 7
    world.roster.put(WorkerView("w3", "h", "m", "ref", "chat", "LOADING"))
    assert world.health.shut_for_s(LANE) is None
    world.roster.drop("w3")
    world.pass_s(7)
    assert world.health.shut_for_s(LANE) is None
    world.lease("w1")
    assert world.health.shut_for_s(LANE) is None


def test_a_fault_counts_as_load_as_long_as_an_answer_takes():
    """A worker that fails at once is not the emptiest one."""
    world = World("w1", "w2")
    lease = world.lease("w2")
    world.now += 4
    world.health.ended(lease, None)
    world.end("w1", "WORKER_LOST")

    assert world.roster.board(LANE).choose() == "w2"
    world.pass_s(4)
    assert world.roster.board(LANE).get("w1").failed == 0


def test_a_slow_one_is_held_back_and_shown():
    """A quarter, then nothing, then a quarter again; told as WORKER_SLOW."""
    world = World("slow", "w1", "w2", "w3")

    def answers():
        for _ in range(4):
            for name in ("w1", "w2", "w3"):
                world.end(name, None, first_token_s=0.1)
            world.end("slow", None, first_token_s=1.0)
        world.now += 2
        world.end("w1", None, first_token_s=0.1)

    answers()
    assert world.room("slow") == 1 and world.told[-1][0] == "WORKER_SLOW"
    shown = world.health.view(world.roster.workers["slow"])
    assert shown["share"] == 0.25 and shown["slow"]["what"] == "first token"
    answers()
    assert world.room("slow") == 0
    assert [world.room(name) for name in ("w1", "w2", "w3")] == [4, 4, 4]
    world.pass_s(10)
    assert world.room("slow") == 1


def test_a_conversation_is_remembered_once_its_prompt_was_read():
    """An attempt that broke before its first token has read nothing for certain."""
    world = World("w1")
    conversation = conversation_of({"prompt": "hello"})
    for first_token_s, known in ((None, False), (0.2, True)):
        lease = world.lease("w1")
        lease.claim = Claim(conversation=conversation)
        world.health.ended(lease, "CANCELLED", first_token_s=first_token_s)
        assert bool(world.warmth.cached_prefix("w1", conversation)) is known
