"""Clients that leave, and engines that are to notice it."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
from pytest_bdd import parsers, then, when

import plain_http
from eventually import eventually

PROMPT = "word " * 400


def body_for(path: str) -> dict[str, object]:
    """A long prompt in the words of each route."""
    return {"model": "tiny", "max_tokens": 200, "n_predict": 200, "max_output_tokens": 200} | {
        "/v1/completions": {"prompt": PROMPT},
        "/completion": {"prompt": PROMPT},
        "/v1/responses": {"input": PROMPT},
    }.get(path, {"messages": [{"role": "user", "content": PROMPT}]})


def leave(url: str, path: str, body: dict[str, object], after_s: float) -> bool:
    """Ask and hang up; whether the answer was still to come."""
    try:
        plain_http.post(url + path, json=body, timeout=after_s)
    except httpx.TimeoutException:
        return True
    return False


@when(parsers.parse("a client of {path} hangs up while its prompt is being read"))
def hang_up_in_prefill(world, path):
    # A beginning of its own: nothing of it is in the engine's cache.
    body = body_for(path)
    fresh = f"{random.random()} {PROMPT}"
    for name in ("prompt", "input"):
        if name in body:
            body[name] = fresh
    if "messages" in body:
        body["messages"] = [{"role": "user", "content": fresh}]
    assert leave(world.home.url, path, body, 0.7), "the answer came too soon"


@when(parsers.parse("{count:d} clients hang up in line, in prefill and in their answers"))
def hang_up_often(world, count):
    dice = random.Random(count)

    def one(number):
        long = number % 2
        prompt = f"{number} {PROMPT}" if long else f"Say {number}."
        body = {
            "model": "tiny",
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": 200,
            "stream": dice.random() < 0.5,
        }
        return leave(world.home.url, "/v1/chat/completions", body, dice.uniform(0.05, 1.2))

    with ThreadPoolExecutor(8) as pool:
        left = list(pool.map(one, range(count)))
    assert sum(left) > count / 2, left


@then(parsers.parse("the engine rests within {limit_s:g} s"))
def rests(world, limit_s):
    """It takes no processor time any more: nobody's answer is being made."""
    processes = [psutil.Process(one["pid"]) for one in world.home.workers()]
    seen = {"at": time.monotonic(), "cpu_s": used_s(processes)}

    def idle():
        now, cpu_s = time.monotonic(), used_s(processes)
        if now - seen["at"] < 0.3:
            return False
        rate = (cpu_s - seen["cpu_s"]) / (now - seen["at"])
        seen.update(at=now, cpu_s=cpu_s)
        return rate < 0.2

    eventually(idle, within_s=limit_s + 0.5)


def used_s(processes):
    return sum(one.cpu_times().user + one.cpu_times().system for one in processes)
