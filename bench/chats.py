"""Chats of three turns on two workers: do they find their cache, and what is it worth?

The same chats go through rbee, and straight to a worker that is drawn for each turn: that is what
routing without memory does. With two workers it still finds the beginning in 62 of 100 later turns
(a second turn in one of two cases, a third in three of four), and so its median turn is one that
found it. Hence all four ways to draw for a chat are taken equally often, that chance does not
decide, and the mean is told beside the median.
"""

from __future__ import annotations

import json
import random
import statistics
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from bench.stack import Door, Stack

TURNS = ("Say one word.", "Say another word.", "And one more.")
_WORDS = ("river", "stone", "lamp", "green", "seven", "paper", "cloud", "north", "bread", "glass")


@dataclass(frozen=True)
class Turn:
    """One answer: the time to its first token, and how much of its prompt was read before."""

    number: int
    first_s: float
    prompt_tokens: int
    cached_tokens: int


def doors(stack: Stack) -> list[Door]:
    """All workers, past rbee."""
    shown = json.loads(stack.rbee("ps", "--json"))["workers"]
    keys = stack.home / "run" / "workers"
    return [Door(one["port"], (keys / one["id"] / "key").read_text().strip()) for one in shown]


def talk(choose: Callable[[], Door], seed: int, words: int) -> Iterator[Turn]:
    """A chat whose beginning is nobody else's, of so many words, which are as many tokens."""
    dice = random.Random(seed)
    rules = " ".join(dice.choice(_WORDS) for _ in range(words))
    messages = [{"role": "system", "content": f"Rules {seed}: {rules}"}]
    for number, words in enumerate(TURNS, 1):
        messages.append({"role": "user", "content": words})
        text, turn = _ask(choose(), messages, number)
        messages.append({"role": "assistant", "content": text})
        yield turn


def _ask(door: Door, messages: list[dict[str, str]], number: int) -> tuple[str, Turn]:
    said = {"model": "tiny", "messages": messages, "max_tokens": 6, "temperature": 0, "seed": 1}
    request = urllib.request.Request(
        f"http://127.0.0.1:{door.port}/v1/chat/completions",
        json.dumps({**said, "stream": True, "stream_options": {"include_usage": True}}).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {door.key}"},
    )
    text, first_s, timings = "", 0.0, {}
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=120) as answer:
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            timings = chunk.get("timings") or timings
            for choice in chunk.get("choices") or ():
                piece = choice["delta"].get("content")
                if piece:
                    first_s = first_s or time.perf_counter() - began
                    text += piece
    read, cached = timings["prompt_n"], timings["cache_n"]
    return text, Turn(number, first_s, read + cached, cached)


Chooser = Callable[[], Door]


def drawn(doors: list[Door], dice: random.Random) -> Callable[[], Chooser]:
    """Gives each chat its way through two workers: the ways in turn, the first worker at random."""
    ways = count()

    def begin() -> Chooser:
        way, first = next(ways), dice.randrange(2)
        turns = iter((first, first ^ (way & 1), first ^ (way >> 1 & 1)))
        return lambda: doors[next(turns)]

    return begin


def chats(begin: Callable[[], Chooser], seeds: range, at_once: int, words: int) -> list[Turn]:
    """So many chats, a few at a time; gives their later turns."""
    left = list(seeds)
    found: list[Turn] = []

    def some() -> None:
        while left:
            found.extend(turn for turn in talk(begin(), left.pop(), words) if turn.number > 1)

    threads = [threading.Thread(target=some) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@dataclass(frozen=True)
class Compared:
    """rbee over random routing."""

    found: float
    """The share of later turns that found their cache."""
    found_at_random: float
    median: float
    """Of the first token of later turns, over the same at random."""
    mean: float


def compare(stack: Stack, chats_of_each: int, at_once: int, words: int) -> Compared:
    """A block of chats by rbee, a block at random, and so on."""
    begin_at_random, queen = drawn(doors(stack), random.Random(1)), stack.queen
    routed: list[Turn] = []
    thrown: list[Turn] = []
    for block in range(0, chats_of_each, 4):
        seeds = range(block, block + 4)
        routed += chats(lambda: lambda: queen, seeds, at_once, words)
        thrown += chats(begin_at_random, range(1000 + block, 1004 + block), at_once, words)
    both = [one.first_s for one in routed], [one.first_s for one in thrown]
    return Compared(
        found=_found(routed),
        found_at_random=_found(thrown),
        median=statistics.median(both[0]) / statistics.median(both[1]),
        mean=statistics.mean(both[0]) / statistics.mean(both[1]),
    )


def _found(turns: list[Turn]) -> float:
    return sum(one.cached_tokens >= one.prompt_tokens / 2 for one in turns) / len(turns)
