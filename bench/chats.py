"""Chats of three turns on two workers: do they find their cache, and what is it worth?

The same chats go through rbee, and straight to a worker that is drawn for each turn: that is what
routing without memory does.
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


def talk(choose: Callable[[], Door], seed: int) -> Iterator[Turn]:
    """A chat whose beginning is nobody else's, of about 500 tokens."""
    dice = random.Random(seed)
    rules = " ".join(dice.choice(_WORDS) for _ in range(450))
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


def chats(choose: Callable[[], Door], seeds: range, at_once: int) -> list[Turn]:
    """So many chats, a few at a time; gives their later turns."""
    left = list(seeds)
    found: list[Turn] = []

    def some() -> None:
        while left:
            found.extend(turn for turn in talk(choose, left.pop()) if turn.number > 1)

    threads = [threading.Thread(target=some) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def compare(stack: Stack, count: int, at_once: int) -> tuple[float, float]:
    """The share of later turns that found their cache, and their median first token over that of
    random routing."""
    workers = doors(stack)
    dice = random.Random(1)
    queen = stack.queen
    routed: list[Turn] = []
    drawn: list[Turn] = []
    for block in range(0, count, at_once * 2):
        seeds = range(block, min(count, block + at_once * 2))
        routed += chats(lambda: queen, seeds, at_once)
        drawn += chats(lambda: dice.choice(workers), range(1000 + seeds.start, 1000 + seeds.stop),
                       at_once)  # fmt: skip
    found = sum(one.cached_tokens >= one.prompt_tokens / 2 for one in routed) / len(routed)
    first_s, drawn_s = (
        statistics.median(one.first_s for one in turns) for turns in (routed, drawn)
    )
    return found, first_s / drawn_s
