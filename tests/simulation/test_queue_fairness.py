"""Lines under load, under virtual time: fair between keys, kind to what is urgent, and bounded."""

from __future__ import annotations

import pytest

from rbee.policy.fair_queue import Priority
from tests.simulation.queue_world import Client, QueueWorld


def test_a_flood_of_one_key_does_not_hold_up_another():
    """One key sends 500 at once, another one every 10 s: it waits for about one answer each time,
    and is never refused."""
    world = QueueWorld(seed=1)
    world.worker("w1", 4)
    world.service = lambda worker: (world.dice.uniform(1.5, 2.5), None)
    flood = [Client(number, key="flood") for number in range(500)]
    few = [Client(1000 + number, key="few") for number in range(10)]
    for client in flood:
        world.at(0.0, lambda one=client: world.come(one))
    for number, client in enumerate(few):
        world.at(1.0 + number * 4, lambda one=client: world.come(one))
    world.run()

    assert not any(client.refused for client in few)
    assert max(client.began_at - client.arrived_at for client in few) < 2.5
    assert sum(client.refused for client in flood) == 500 - sum(
        client.began_at is not None for client in flood
    )


def test_keys_get_equal_shares_whatever_they_ask_for():
    """Four keys, one asking five times as much as the others: all are served alike."""
    world = QueueWorld(seed=2)
    world.worker("w1", 4)
    world.service = lambda worker: (world.dice.expovariate(1.0), None)
    clients = []
    for second in range(120):
        for key, count in (("a", 10), ("b", 2), ("c", 2), ("d", 2)):
            for _ in range(count):
                client = Client(len(clients), key=key)
                clients.append(client)
                at = second + world.dice.random()
                world.at(at, lambda one=client: world.come(one))
    world.run(until=120)
    served = {
        key: sum(one.began_at is not None for one in clients if one.key == key) for key in "abcd"
    }

    assert max(served.values()) <= 1.15 * min(served.values()), served


@pytest.mark.parametrize("keys", [1, 8])
def test_low_is_served_though_normal_never_ends(keys):
    """More normal requests than can be served, for ever: low ones still move."""
    world = QueueWorld(seed=3)
    world.worker("w1", 2)
    world.service = lambda worker: (1.0, None)
    low = [Client(number, key="batch", priority=Priority.LOW) for number in range(5)]
    for client in low:
        world.at(0.5, lambda one=client: world.come(one))
    for number in range(3000):
        key = f"k{number % keys}"
        world.at(number * 0.2, lambda n=number, k=key: world.come(Client(100 + n, key=k)))
    world.run(until=600)

    assert all(client.began_at is not None for client in low)


@pytest.mark.parametrize("seed", range(20))
def test_counts_add_up(seed):
    """Whatever comes: each request began once or was refused, and the line is empty at the end."""
    world = QueueWorld(seed, queue_limit=world_limit(seed))
    dice = world.dice
    for number in range(dice.randint(1, 4)):
        world.worker(f"w{number}", dice.randint(1, 4))
    world.service = lambda worker: (dice.expovariate(1.0), None)
    clients = [
        Client(number, key=dice.choice("abc"), priority=dice.choice(list(Priority)))
        for number in range(400)
    ]
    for client in clients:
        world.at(dice.uniform(0, 40), lambda one=client: world.come(one))
    world.run()

    for client in clients:
        assert (client.began_at is not None) + client.refused == 1, client
    assert not any(world.lanes.waiting().values()) and not any(world.roster.busy.values())


def world_limit(seed: int) -> int:
    return (0, 1, 10, 100)[seed % 4]
