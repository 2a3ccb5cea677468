"""Crowds: more clients than slots and places."""

from __future__ import annotations

import json
import os
import signal
import threading

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
    were_served(world, 1)


@given(parsers.parse("{count:d} requests were served"))
def were_served(world, count):
    for _ in range(count):
        answer = world.home.chat(max_tokens=2)
        assert answer.status_code == 200, answer.text


@given(parsers.parse("{count:d} streams are running"))
def streams_running(world, count):
    for _ in range(count):
        world.streams.append(world.home.stream(prompt=_LONG, max_tokens=400))
    eventually(lambda: all(one.tokens > 2 for one in world.streams), within_s=30)


@given(parsers.parse("{count:d} short streams are running"))
def short_streams_running(world, count):
    for _ in range(count):
        world.streams.append(world.home.stream(max_tokens=60))
    eventually(lambda: all(one.tokens > 1 for one in world.streams), within_s=40)


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


@when(
    parsers.parse(
        "the key {greedy} asks {count:d} times at once and the key {patient} once after that, "
        "for {tokens:d} tokens"
    )
)
def flood(world, greedy, count, patient, tokens):
    first, last = visitors(count, tokens), visitors(1, tokens)
    for one in first:
        one.key = world.seen[greedy]["key"]
    last[0].key = world.seen[patient]["key"]
    flooding = threading.Thread(target=ask_all, args=(world, first))
    flooding.start()
    eventually(lambda: world.home.ps()["queues"]["tiny"]["waiting"] == 10, within_s=10)
    port = int(world.home.url.rsplit(":", 1)[1])
    Crowd(port, come_back=False).run(last, 60)
    flooding.join(120)
    world.seen["flood"], world.seen["last"] = first, last[0]


@when(parsers.parse("one of the workers gets {name}"))
def one_worker_gets(world, name):
    os.kill(world.home.workers("READY", "BUSY")[0]["pid"], getattr(signal, name))


@when(parsers.parse("I ask with the priority {word}"))
def ask_with_priority(world, word):
    headers = {"x-rbee-priority": word}
    world.ask("POST", "/v1/chat/completions", json=chat_body(), headers=headers)


@when(parsers.parse("{count:d} chats of {turns:d} turns go on, {at_once:d} at once"))
def chats_go_on(world, count, turns, at_once):
    world.seen["turns"] = []
    left = list(range(count))

    def some():
        while left:
            world.seen["turns"] += list(chat_of(world, left.pop(), turns))

    threads = [threading.Thread(target=some) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)


def chat_of(world, number, turns):
    """The later turns of a chat whose long beginning is nobody else's."""
    rules = " ".join(f"{word}{number}" for word in ("river", "stone", "lamp", "cloud") * 30)
    messages = [{"role": "system", "content": f"Chat {number}. {rules}"}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Say word {turn}."})
        answer = world.home.chat(messages=messages, max_tokens=4)
        assert answer.status_code == 200, answer.text
        messages.append(answer.json()["choices"][0]["message"])
        if turn:
            yield answer.json()


@then(parsers.parse("at least {share:d} % of their later turns found what was read before"))
def found_cache(world, share):
    read = [(one["timings"]["cache_n"], one["timings"]["prompt_n"]) for one in world.seen["turns"]]
    assert read and all(cached + new > 200 for cached, new in read), read
    found = sum(cached > new for cached, new in read)
    assert found >= len(read) * share / 100, read


@then("both workers took part")
def both_took_part(world):
    assert len({one["rbee"]["worker"] for one in world.seen["turns"]}) == 2


@then(parsers.re(r"(?P<good>\d+) of them (was|were) served and (?P<bad>\d+) (was|were) refused.*"))
def served_and_refused(world, good, bad):
    found = world.seen["visitors"]
    statuses = [one.status for one in found]
    refused = [one for one in found if one.status in (429, 503)]
    assert statuses.count(200) + len(refused) == len(found), statuses
    assert (statuses.count(200), len(refused)) == (int(good), int(bad)), statuses
    assert all(one.retry_after_s >= 1 for one in refused)
    slowest_s = max((one.took_s for one in refused), default=0.0)
    print(f"{good} served, {bad} refused, the slowest refusal after {slowest_s:.2f} s")
    assert slowest_s <= 1, f"a refusal took {slowest_s:.2f} s"


@then(parsers.parse("of those who came back at least {share:d} % were served"))
def came_back(world, share):
    again = [one.again for one in world.seen["visitors"] if one.again is not None]
    served = sum(one.status == 200 for one in again)
    told = sorted(one.retry_after_s for one in world.seen["visitors"] if one.again)
    print(f"{served} of {len(again)} who came back were served, after {told[0]} to {told[-1]} s")
    assert again and served >= len(again) * share / 100, (served, len(again))


@then(parsers.parse("the key patient was served before at least {count:d} of those before it"))
def not_held_up(world, count):
    last = world.seen["last"]
    assert last.status == 200, last.error
    later = [one for one in world.seen["flood"] if one.status == 200]
    after = sum(one.ended_at > last.ended_at for one in later)
    assert after >= count, (after, len(later))


@then(parsers.parse("{good:d} of the {count:d} were served and the others refused"))
def served_of_all(world, good, count):
    found = [*world.seen["flood"], world.seen["last"]]
    statuses = [one.status for one in found]
    assert len(found) == count and statuses.count(200) == good, statuses
    assert statuses.count(503) == count - good, statuses
    assert all(one.retry_after_s >= 1 for one in found if one.status == 503)


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
