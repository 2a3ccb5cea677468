"""Retry-After is honest: who waits that long gets in, nine times of ten. Under virtual time."""

from __future__ import annotations

import pytest

from tests.simulation.queue_world import Client, QueueWorld

SLOTS, LIMIT, MEAN_S = 8, 100, 4.0
_SEEDS = 6


def answers(world: QueueWorld, kind: str):
    dice = world.dice
    if kind == "even":
        return lambda worker: (MEAN_S * dice.uniform(0.8, 1.2), None)
    if kind == "heavy":
        return lambda worker: (MEAN_S * dice.lognormvariate(-0.5, 1.0), None)
    if kind == "shared":
        # The slots of a worker share a processor: four at once are 1.6 times as fast as one.
        return lambda worker: (
            MEAN_S * dice.uniform(0.8, 1.2) * (0.5 + world.roster.busy[worker] / 2),
            None,
        )
    return lambda worker: (dice.expovariate(1 / MEAN_S), None)


def told_and_kept(
    seed: int, kind: str, *, clients: int, load: float, lost: float, same: bool, warm: bool
) -> tuple[int, int, int]:
    """How many came back when they were told, how many of them got in, and how many came in all.

    `clients` come at once, then others at random (`load` of what the slots can do); each comes back
    at the time that it was told, but for a share that is `lost`.
    """
    world = QueueWorld(seed, queue_limit=LIMIT)
    world.worker("w1", SLOTS // 2)
    world.worker("w2", SLOTS // 2)
    world.service = answers(world, kind)
    dice = world.dice
    back = kept = 0

    def ask(client: Client, told: bool) -> None:
        nonlocal back, kept
        error = world.come(client)
        back += told
        kept += told and error is None
        if error is not None:
            assert error.code == "QUEUE_FULL"
            if dice.random() >= lost:
                after_s = error.facts["retry_after_s"] + dice.uniform(0, 0.5)
                world.at(world.now + after_s, lambda: ask(client, True))

    if warm:
        for number in range(20):
            world.at(number * 5.0, lambda: ask(Client(-1, body=1), False))
    began = 150.0
    body = 2 if same else 0
    for number in range(clients):
        world.at(began, lambda n=number: ask(Client(n, body=body), False))
    when, number = began, clients
    while load and when < began + 400:
        when += dice.expovariate(load * SLOTS / MEAN_S)
        number += 1
        world.at(when, lambda n=number: ask(Client(n, body=body), False))
    world.run()
    return back, kept, number


CASES = {
    "200 at once": {"clients": 200, "load": 0.0, "lost": 0.0, "same": False, "warm": True},
    "400 at once, one prompt": {
        "clients": 400, "load": 0.0, "lost": 0.0, "same": True, "warm": True
    },
    "at once before anything was measured": {
        "clients": 200, "load": 0.0, "lost": 0.0, "same": False, "warm": False
    },
    "others come too": {"clients": 200, "load": 0.7, "lost": 0.0, "same": False, "warm": True},
    "more come than can be served": {
        "clients": 150, "load": 1.3, "lost": 0.3, "same": False, "warm": True
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", ["even", "random", "heavy", "shared"])
@pytest.mark.parametrize("case", CASES)
def test_who_waits_that_long_gets_in(case, kind):
    """Nine times of ten, over six seeds, for answers that vary little, at random, and wildly."""
    back = kept = 0
    for seed in range(_SEEDS):
        one_back, one_kept, _ = told_and_kept(seed, kind, **CASES[case])
        back, kept = back + one_back, kept + one_kept

    assert back >= 300, f"{case}, {kind}: only {back} came back"
    share = kept / back
    print(f"{case}, {kind}: {kept} of {back} got in ({share:.1%})")
    assert share >= 0.9


def crowd(seed: int, kind: str, *, slower: float, after_s: float, alone: float) -> tuple[int, int]:
    """How many of a crowd came back when they were told, and how many of those got in. From
    `after_s` after they came on, an answer takes `slower` times as long. `alone`: how much faster
    an answer is that has the machine for itself; then one such is all that was measured, else the
    line itself was."""
    world = QueueWorld(seed, queue_limit=LIMIT)
    world.worker("w1", SLOTS // 2)
    world.worker("w2", SLOTS // 2)
    dice, began = world.dice, 150.0
    answer = answers(world, kind)
    back = kept = 0

    def service(worker: str) -> tuple[float, str | None]:
        took_s, code = answer(worker)
        by_itself = sum(world.roster.busy.values()) == 1
        late = world.now >= began + after_s
        return took_s * (slower if late else 1) / (alone if by_itself else 1), code

    def ask(client: Client, told: bool) -> None:
        nonlocal back, kept
        error = world.come(client)
        back += told
        kept += told and error is None
        if error is not None and not told:
            when = world.now + error.facts["retry_after_s"] + dice.uniform(0, 0.5)
            world.at(when, lambda: ask(client, True))

    world.service = service
    for number in range(1 if alone > 1 else 60):
        world.at(0.0, lambda n=number: ask(Client(1000 + n), False))
    for number in range(200):
        world.at(began, lambda n=number: ask(Client(n), False))
    world.run()
    return back, kept


@pytest.mark.parametrize("kind", ["even", "random", "heavy"])
@pytest.mark.parametrize("after_s", [0.0, 5.0])
@pytest.mark.parametrize("slower", [1.0, 1 / 0.7, 2.0])
def test_a_line_that_becomes_slower_keeps_what_it_promised(slower, after_s, kind):
    """A rate that falls by 30 %, or to the half, when others have been told by it; each comes back
    once."""
    found = [crowd(seed, kind, slower=slower, after_s=after_s, alone=1) for seed in range(_SEEDS)]

    back, kept = (sum(numbers) for numbers in zip(*found, strict=True))
    assert back == 92 * _SEEDS and kept >= back * 0.97, found


@pytest.mark.parametrize("slower", [1.0, 1 / 0.7])
@pytest.mark.parametrize("alone", [4, 8])
def test_one_answer_on_an_idle_machine_promises_little(alone, slower):
    """All that was measured is one answer that had the machine for itself: in a crowd each takes so
    many times as long, for the workers share the processors, with each other and with what else
    runs."""
    found = [crowd(seed, "even", slower=slower, after_s=0, alone=alone) for seed in range(_SEEDS)]

    back, kept = (sum(numbers) for numbers in zip(*found, strict=True))
    assert back == 92 * _SEEDS and kept >= back * 0.95, found
