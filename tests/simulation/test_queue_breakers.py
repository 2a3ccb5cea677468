"""Workers that fail, hang and recover, under virtual time."""

from __future__ import annotations

import pytest

from rbee.settings import Timing
from tests.simulation.queue_world import Client, QueueWorld


def test_a_worker_that_fails_at_once_attracts_no_more_than_its_share():
    """It fails 40 % of its attempts within 5 ms, too few for its breaker, and is idle again at
    once: it gets no more than its third all the same."""
    world = QueueWorld(seed=4)
    for name in ("failing", "w1", "w2"):
        world.worker(name, 4)
    dice = world.dice
    fails = iter(range(10**9))

    def service(worker):
        if worker == "failing" and next(fails) % 5 in (1, 3):
            return 0.005, "WORKER_LOST"
        return dice.uniform(1.5, 2.5), None

    world.service = service
    for number in range(2000):
        world.at(number * 0.3, lambda n=number: world.come(Client(n)))
    world.run()

    assert not world.happened
    assert world.given["failing"] <= 2000 / 3 * 1.05, world.given


def test_a_worker_that_always_fails_at_once_is_cut_off_after_five():
    """Five attempts, then one in each 10 s, and all requests go to the other one."""
    world = QueueWorld(seed=5)
    world.worker("failing", 4)
    world.worker("w1", 4)
    world.service = lambda worker: (0.005, "WORKER_LOST") if worker == "failing" else (0.5, None)
    for number in range(1000):
        world.at(number * 0.1, lambda n=number: world.come(Client(n)))
    world.run(until=100)

    assert 5 <= world.given["failing"] <= 5 + 10
    assert world.happened[0] == ("CIRCUIT_OPEN", "failing")


def test_a_recovered_worker_begins_with_a_quarter():
    """After its breaker closed it gets more in steps, and all of its share in the end."""
    timing = Timing(slow_start_s=30)
    world = QueueWorld(seed=6, timing=timing, queue_limit=1000)
    world.worker("w1", 8)
    world.worker("w2", 8)
    well = {"w1": False}
    world.service = lambda worker: (
        (0.1, "WORKER_LOST") if worker == "w1" and not well["w1"] else (1.0, None)
    )
    busy: list[int] = []
    for number in range(3000):
        world.at(number * 0.05, lambda n=number: world.come(Client(n)))
    world.at(5.0, lambda: well.update(w1=True))
    for second in range(60):
        world.at(second + 0.5, lambda: busy.append(world.roster.busy.get("w1", 0)))
    world.run(until=60)

    assert max(busy[2:9]) == 0, busy
    assert max(busy[12:20]) == 2 and max(busy[45:]) == 8, busy
    assert busy[12:] == sorted(busy[12:]), busy


def test_one_slow_worker_of_four_gets_less_and_then_nothing():
    """Ten times slower than its peers: held back, while the others serve."""
    world = QueueWorld(seed=7)
    for name in ("slow", "w1", "w2", "w3"):
        world.worker(name, 4)
    world.service = lambda worker: (10.0 if worker == "slow" else 1.0, None)
    for number in range(1500):
        world.at(number * 0.2, lambda n=number: world.come(Client(n)))
    world.run(until=300)

    assert ("WORKER_SLOW", "slow") in world.happened
    assert {worker for _, worker in world.happened} == {"slow"}
    assert world.given["slow"] < 1500 / 16, world.given


@pytest.mark.parametrize("seed", range(10))
def test_no_schedule_of_faults_loses_a_worker_or_a_request(seed):
    """Faults of all kinds at random, then calm: every worker serves with all its slots again, and
    every request ended."""
    world = QueueWorld(seed, queue_limit=10_000)
    dice = world.dice
    names = [f"w{number}" for number in range(5)]
    for name in names:
        world.worker(name, 2)
    ills = {name: dice.random() for name in names}

    def service(worker):
        if world.now < 200 and dice.random() < ills[worker]:
            code = dice.choice(["WORKER_LOST", "WORKER_HUNG", "CANCELLED", "ENGINE_REFUSED"])
            return dice.uniform(0.005, 2), code
        return dice.uniform(0.5, 1.5), None

    world.service = service
    clients = [Client(number) for number in range(1500)]
    for number, client in enumerate(clients):
        world.at(number * 0.25, lambda one=client: world.come(one))
    world.run()

    assert all((one.began_at is not None) + one.refused == 1 for one in clients)
    board = world.roster.board(("m", "chat"))
    assert (board.room, board.free) == (10, 10)
    assert [world.health.view(one)["breaker"] for one in world.roster.workers.values()] == [
        "closed"
    ] * 5
