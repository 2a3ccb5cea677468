"""Crowds: more clients than slots and places."""

from __future__ import annotations

import json
import os
import signal

from pytest_bdd import given, parsers, then, when

from eventually import eventually
from faults.crowd import Crowd, Visitor
from world import chat_body

_LONG = "Tell a long story."


def visitors(count, tokens, model="tiny"):
    """Each asks something of its own."""
    return [
        Visitor(json.dumps(chat_body(f"Say {one}.", model=model, max_tokens=tokens)).encode())
        for one in range(count)
    ]


def ask_all(world, found, *, come_back=False, within_s=240):
    port = int(world.home.url.rsplit(":", 1)[1])
    Crowd(port, come_back=come_back).run(found, within_s)
    world.seen["visitors"] = found


@given("a request was served")
def was_served(world):
    answer = world.home.chat(max_tokens=2)
    assert answer.status_code == 200, answer.text


@given(parsers.parse("{count:d} streams are running"))
def streams_running(world, count):
    for _ in range(count):
        world.streams.append(world.home.stream(prompt=_LONG, max_tokens=400))
    eventually(lambda: all(one.tokens > 2 for one in world.streams), within_s=30)


@given(parsers.parse("{count:d} clients wait for a slot"))
def clients_wait(world, count):
    for number in range(count):
        body = {"prompt": f"{_LONG} Number {number}.", "max_tokens": 100}
        world.streams.append(world.home.stream(headers={"x-rbee-events": "1"}, **body))
    eventually(lambda: world.home.ps()["queues"]["tiny"]["waiting"] == count, within_s=10)


@when(parsers.parse("{count:d} clients ask at once for {tokens:d} tokens"))
def ask_at_once(world, count, tokens):
    ask_all(world, visitors(count, tokens))


@when(parsers.parse("{count:d} clients ask the model {model} at once for {tokens:d} tokens"))
def ask_model_at_once(world, count, model, tokens):
    ask_all(world, visitors(count, tokens, model))


@when(
    parsers.parse(
        "{count:d} clients ask at once for {tokens:d} tokens, and come back when they are told"
    )
)
def ask_and_come_back(world, count, tokens):
    ask_all(world, visitors(count, tokens), come_back=True)


@when(parsers.parse("one of the workers gets {name}"))
def one_worker_gets(world, name):
    os.kill(world.home.workers("READY", "BUSY")[0]["pid"], getattr(signal, name))


@when(parsers.parse("I ask with the priority {word}"))
def ask_with_priority(world, word):
    headers = {"x-rbee-priority": word}
    world.ask("POST", "/v1/chat/completions", json=chat_body(), headers=headers)


@then(parsers.re(r"(?P<good>\d+) of them (was|were) served and (?P<bad>\d+) (was|were) refused.*"))
def served_and_refused(world, good, bad):
    found = world.seen["visitors"]
    statuses = [one.status for one in found]
    refused = [one for one in found if one.status in (429, 503)]
    assert statuses.count(200) + len(refused) == len(found), statuses
    assert (statuses.count(200), len(refused)) == (int(good), int(bad)), statuses
    assert all(one.retry_after_s >= 1 for one in refused)
    slowest_s = max((one.took_s for one in refused), default=0.0)
    assert slowest_s <= 1, f"a refusal took {slowest_s:.2f} s"


@then(parsers.parse("of those who came back at least {share:d} % were served"))
def came_back(world, share):
    again = [one.again for one in world.seen["visitors"] if one.again is not None]
    served = sum(one.status == 200 for one in again)
    told = sorted(one.retry_after_s for one in world.seen["visitors"] if one.again)
    print(f"{served} of {len(again)} who came back were served, after {told[0]} to {told[-1]} s")
    assert again and served >= len(again) * share / 100, (served, len(again))


@then("nobody waits any more")
def nobody_waits(world):
    eventually(lambda: not world.home.ps()["queues"]["tiny"]["waiting"], within_s=10)
    eventually(lambda: not any(one["busy"] for one in world.home.workers()), within_s=10)


@then(parsers.parse("at least {count:d} of them were answered within {limit_s:g} s"))
def answered_within(world, count, limit_s):
    times = sorted(one.took_s for one in world.seen["visitors"])
    assert times[count - 1] <= limit_s, times


@then(parsers.parse("each of them got {status:d} {code}"))
def each_got(world, status, code):
    found = {(one.status, one.error.get("code")) for one in world.seen["visitors"]}
    assert found == {(status, code)}, found


@then("one worker was started for them")
def one_load(world):
    logs = list((world.home.path / "logs" / "workers").glob("*.log"))
    assert len(logs) == 1, logs


@then("the place and the wait of those in line are told")
def told_in_line(world):
    def told():
        last = world.streams[-1]
        return '"position":' in last.text and '"expected_wait_s":' in last.text

    eventually(told, within_s=10)
    assert world.home.ps()["queues"]["tiny"]["expected_wait_s"] > 0
