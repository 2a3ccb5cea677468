"""A decision takes about as long among a thousand workers and ten thousand waiting as among few.

What is asserted is how times grow; what is printed is how long they are.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median

from rbee.policy.admission import Claim
from rbee.policy.affinity import conversation_of
from rbee.policy.fair_queue import Priority
from tests.queen.test_lanes import LANE, World
from tests.queen.test_worker_health import World as HealthWorld

GROWS_AT_MOST = 5.0
"""A hundred times as many; a walk past all of them would take a hundred times as long."""


def timed_us(act, times: int = 300) -> float:
    """The median time of one call, in microseconds: what the machine does beside it falls out."""
    found = []
    for _ in range(times):
        began = time.perf_counter_ns()
        act()
        found.append(time.perf_counter_ns() - began)
    return median(found) / 1000


def crowd(workers: int, waiting: int) -> tuple[World, list]:
    """All slots busy, and so many in line, of 50 keys."""
    world = World(queue_limit=waiting + 1000)
    for number in range(workers):
        world.worker(f"w{number}", slots=1)
    leases = [world.enter().lease.result() for _ in range(workers)]
    tickets = [world.enter(key_id=f"k{number % 50}") for number in range(waiting)]
    return world, [leases, tickets]


def measured(workers: int, waiting: int) -> dict[str, float]:
    found: dict[str, float] = {}
    conversation = conversation_of({"messages": [{"role": "user", "content": "x" * 2000}]})

    async def inside() -> None:
        world, (leases, tickets) = crowd(workers, waiting)
        looked = iter(tickets * 10)
        found["position"] = timed_us(lambda: world.lanes.position(next(looked)))
        found["expected wait"] = timed_us(lambda: world.lanes.expected_wait_s(LANE, 7))
        claim = Claim("k1", Priority.HIGH, conversation)
        entered = []

        def enter() -> None:
            entered.append(world.lanes.enter(LANE, loading_slots=1, claim=claim))

        found["enter"] = timed_us(enter)
        found["leave"] = timed_us(lambda: world.lanes.leave(entered.pop()))
        scored, released = iter(leases), iter(leases)

        def score() -> None:
            world.health.ended(next(scored), None, first_token_s=0.1)

        def release() -> None:
            world.lanes.release(next(released), served=True)

        found["score an attempt"] = timed_us(score, workers)
        found["release, and lease to the next"] = timed_us(release, workers)

    asyncio.run(inside())
    return found


def test_decisions_do_not_walk_past_everybody():
    """100 times the workers and the line: each decision takes at most five times as long."""
    small, large = measured(10, 100), measured(1000, 10_000)
    for name, large_us in large.items():
        print(f"{name}: {small[name]:.1f} µs among 10 and 100, {large_us:.1f} among 1000 and 10000")
        assert large_us <= GROWS_AT_MOST * small[name], name


def test_a_choice_does_not_walk_past_everybody():
    """The same for the choice of a worker, with and without a warm cache."""

    def choices(workers: int) -> list[float]:
        world = HealthWorld(*(f"w{number}" for number in range(workers)))
        board = world.roster.board(LANE)
        saved = {"w3": 0.9, "w5": 0.5}
        return [
            timed_us(board.choose),
            timed_us(lambda: board.choose(tried=("w1",), saved=saved)),
        ]

    for small_us, large_us in zip(choices(10), choices(1000), strict=True):
        print(f"choice: {small_us:.1f} µs among 10 workers, {large_us:.1f} among 1000")
        assert large_us <= GROWS_AT_MOST * small_us
