"""Thousands of fault schedules under virtual time: no answer is lost in silence, none is doubled.

Each seed is a history of its own. `RBEE_SIMULATION_SEED=N` replays one, `RBEE_SIMULATIONS=10000`
runs them all; a tenth is run without being asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from typing import Any

from rbee.errors.catalogue import CATALOGUE
from tests.simulation.speech import WORD
from tests.simulation.splice_world import LANE, MODEL, Request, SpliceWorld
from tests.simulation.virtual_time import VirtualLoop

HISTORIES = 1_000
LONGEST_S = 600.0


def seeds() -> list[int]:
    one = os.environ.get("RBEE_SIMULATION_SEED")
    return [int(one)] if one else list(range(int(os.environ.get("RBEE_SIMULATIONS", HISTORIES))))


def test_every_history_ends_well():
    """Every request ends: with the whole answer, exact or with its continuations declared, or with
    a coded error and what there was. No slot and no run on a worker outlives its request."""
    loop = VirtualLoop()
    ends: Counter[str] = Counter()
    try:
        for seed in seeds():
            try:
                ends += loop.run(history(seed, loop))
            except BaseException as exc:
                raise AssertionError(f"replay it: RBEE_SIMULATION_SEED={seed}") from exc
    finally:
        loop.close()
        asyncio.set_event_loop(None)
    if len(seeds()) >= HISTORIES:
        rare = {end for end in ("whole", "replay", "continue", "error", "hung up") if not ends[end]}
        assert not rare, f"the histories are too tame: {ends}"


async def history(seed: int, loop: VirtualLoop) -> Counter[str]:
    """One world from its first request to the audit."""
    world = SpliceWorld(seed, loop)
    began = loop.time()
    requests = [world.ask(number) for number in range(world.dice.randint(1, 3))]
    lives = [asyncio.ensure_future(one.live()) for one in requests]
    _, late = await asyncio.wait(lives, timeout=LONGEST_S)
    assert not late, f"a request hangs after {loop.time() - began:.0f} s"
    ends: Counter[str] = Counter()
    for life, request in zip(lives, requests, strict=True):
        life.result()
        ends[check(request)] += 1
    for mode, _ in world.core.counters.splices.elements():
        ends[mode] += 1
    audit(world)
    return ends


def audit(world: SpliceWorld) -> None:
    """Nothing is left: no slot taken, nobody in line, no run that nobody listens to."""
    core = world.core
    assert not any(core.roster.busy.values()), core.roster.busy
    assert not len(core.lanes.lane(LANE).waiting)
    assert not core.counters.running[MODEL]
    for worker in world.workers.values():
        assert not worker.runs or worker.hung, f"{worker.view.id} still works for nobody"


def check(request: Request) -> str:
    """Whether this client was treated well."""
    listener = request.listener
    if request.hung_up:
        return "hung up"
    assert listener.over, "neither an end nor an error"
    said = streamed(listener.body) if listener.status == 200 and request.stream else None
    if said is None and listener.status != 200:
        error = json.loads(listener.body)["error"]
        told = error["details"].get("partial") or ""
        words = {0: told} if request.body.get("n", 1) == 1 else {}
    elif said is None:
        error, value = None, json.loads(listener.body)
        words = {one["index"]: one["message"]["content"] or "" for one in value["choices"]}
        finish = {one["index"]: one["finish_reason"] for one in value["choices"]}
        said = (words, finish, [value["usage"]], value["rbee"], None)
    else:
        words, _, _, _, error = said
    splices = said[3].get("splices", []) if said is not None else []
    modes = [one["mode"] for one in splices]
    assert "replay" not in modes[modes.index("continue") :] if "continue" in modes else True, modes
    for index, text in words.items():
        in_order(request, index, text, splices, whole=error is None)
    if error is not None:
        assert error["code"] in CATALOGUE, error
        assert said is None or not whole(request, said[1]), "an error after a complete answer"
        assert error["attempts"] or error["code"] != "ATTEMPTS_EXHAUSTED"
        of_one_file = set(request.world.salts) == {"a"}
        assert error["code"] != "SPLICE_DIVERGED" or not of_one_file, "all say the same here"
        return "error"
    assert said is not None
    complete(request, said)
    return "whole"


def streamed(body: bytes) -> tuple[Any, ...]:
    """Words and finish by choice, usages, our facts, the error."""
    blocks = [one[6:] for one in body.decode().split("\n\n") if one.startswith("data: ")]
    assert blocks[-1] == "[DONE]", blocks[-2:]
    words: dict[int, str] = {}
    finish: dict[int, str] = {}
    usages, rbee, error = [], {}, None
    for value in map(json.loads, blocks[:-1]):
        assert error is None, "something after the error"
        error = value.get("error")
        rbee = value.get("rbee") or rbee
        usages += [value["usage"]] if value.get("usage") else []
        for one in value.get("choices", ()):
            assert one["index"] not in finish, "something after the finish"
            piece = one["delta"].get("content") or ""
            words[one["index"]] = words.get(one["index"], "") + piece
            if one["finish_reason"]:
                finish[one["index"]] = one["finish_reason"]
    return words, finish, usages, rbee, error


def in_order(
    request: Request, index: int, text: str, splices: list[dict[str, Any]], *, whole: bool
) -> None:
    """Every word once and in its place; another worker's words only where that was declared."""
    found = WORD.findall(text)
    assert "".join(f"{c}.{n}{salt} " for c, n, salt in found) == text, text
    assert [int(number) for _, number, _ in found] == list(range(len(found))), text
    assert all(int(choice) == index for choice, _, _ in found)
    seams = {one["at_token"] for one in splices if one["mode"] == "continue"}
    changes = {at for at in range(1, len(found)) if found[at][2] != found[at - 1][2]}
    if whole:
        assert changes <= seams, (changes, seams)
        assert not changes or (not request.exact and "response_format" not in request.body)


def whole(request: Request, finish: dict[int, str]) -> bool:
    return len(finish) == request.body.get("n", 1)


def complete(request: Request, said: tuple[Any, ...]) -> None:
    """The answer has all of its words, its finish, and the usage of an uninterrupted one."""
    words, finish, usages, _, _ = said
    body = request.body
    limit = body.get("max_tokens")
    count = body["words"] if limit is None else min(body["words"], limit)
    assert whole(request, finish), finish
    for index, text in words.items():
        assert len(WORD.findall(text)) == count, (text, count)
        assert finish[index] == ("length" if limit is not None and count == limit else "stop")
    for usage in usages:
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (5, count), usage
