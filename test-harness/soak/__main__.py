"""`make soak`: N minutes of clients and faults, and the reckoning."""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time

from soak import clients, deeds
from soak.stack import Stack, stack
from tests.model_file import model_path

CLIENTS = 6
LAST_WORDS_S = 320
"""For what is still running at the end."""


def main() -> int:
    asked = arguments()
    print(f"seed {asked.seed}, {asked.minutes:g} minutes", flush=True)
    with stack(model_path()) as one:
        one.begin()
        before = one.sizes()
        run(one, asked.minutes * 60, asked.seed)
        reckon(one)
        after = one.sizes() if not one.ledger.wrong["left busy"] else "not told: never calm"
        finish(one)
        tell(one, before, after, asked.seed)
        return 0 if one.ledger.clean else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    return parser.parse_args()


def run(one: Stack, length_s: float, seed: int) -> None:
    """All clients and the one who breaks things, each with dice of its own."""
    one.ledger.began = time.monotonic()
    jobs = [(deeds.strike_on, f"{seed} deeds")]
    jobs += [(clients.live, f"{seed} client {number}") for number in range(CLIENTS)]
    threads = [
        threading.Thread(target=job, args=(one, random.Random(dice)), daemon=True)
        for job, dice in jobs
    ]
    for thread in threads:
        thread.start()
    while one.ledger.now_s < length_s:
        one.over.wait(min(30, length_s - one.ledger.now_s))
        print(f"{one.ledger.now_s:5.0f} s: {sum(one.ledger.ends.values())} asked", flush=True)
    one.over.set()
    for thread in threads:
        thread.join(LAST_WORDS_S)
        if thread.is_alive():
            one.ledger.bad("lost", "a request that never ended")


def reckon(one: Stack) -> None:
    """Once all is calm, nothing is left of it."""
    one.up()
    one.configure()
    try:
        one.calm()
    except AssertionError as error:
        one.ledger.bad("left busy", str(error)[:600])
    for words in one.orphans():
        one.ledger.bad("orphans", words)


def finish(one: Stack) -> None:
    """Down, and the audit of every scenario."""
    outcome = one.home.keeper("down", within_s=180)
    if outcome.code:
        one.ledger.bad("mistakes", f"down failed: {outcome}")
    for words in one.home.left():
        one.ledger.bad("orphans", words)
    for words in one.home.mistakes():
        one.ledger.bad("mistakes", words)


def tell(one: Stack, before: str, after: str, seed: int) -> None:
    ledger = one.ledger
    print("\n".join(ledger.lines()))
    print("the first of each code:", *ledger.notes.values(), sep="\n  ")
    print(f"at the start: {before}\nat the end:   {after}")
    print(f"{len(ledger.deeds)} faults; the seed was {seed}")
    if ledger.clean:
        return
    for name, found in ledger.wrong.items():
        for words in found[:10]:
            print(f"{name}: {words}")
    print(f"kept for you: {one.home.path}")
    print(one.home.story())


if __name__ == "__main__":
    sys.exit(main())
