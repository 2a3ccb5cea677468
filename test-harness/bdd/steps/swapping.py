"""Given, When, Then: models that share a memory, and workers that are replaced."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading

from pytest_bdd import given, parsers, then, when

from eventually import eventually
from faults import files


@when(parsers.parse("I ask {names} in turn, {times:d} times"))
def in_turn(world, names, times):
    answers = []
    for _ in range(times):
        answers += [world.home.chat(model=name, max_tokens=4) for name in names.split(", ")]
    world.seen["answers"] = answers


@when(parsers.parse("clients ask {names} at the same time, {times:d} times each"))
def at_once(world, names, times):
    answers = []

    def client(name):
        for _ in range(times):
            answers.append(world.home.chat(model=name, max_tokens=8))

    threads = [threading.Thread(target=client, args=(name,)) for name in names.split(", ")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    world.seen["answers"] = answers


@then("every answer was 200")
def all_served(world):
    codes = [one.status_code for one in world.seen["answers"]]
    assert codes and set(codes) == {200}, [one.text for one in world.seen["answers"]][-3:]


@then(parsers.parse("at most {count:d} models are loaded"))
def few_loaded(world, count):
    loaded = {one["model"] for one in world.home.workers("READY", "BUSY", "LOADING")}
    assert len(loaded) <= count, world.home.workers()


@then(parsers.parse("fewer than {count:d} loads were needed"))
def few_loads(world, count):
    newest = max(int(one["id"][1:]) for one in world.home.workers())
    print(f"{newest} loads for {len(world.seen['answers'])} answers")
    assert newest < count, newest


@given(parsers.parse("a stream of {name} is running"))
def stream_of(world, name):
    stream = world.home.stream(model=name, max_tokens=300)
    world.streams.append(stream)
    eventually(lambda: stream.tokens > 2, within_s=30)


@then(parsers.parse("the stream is over within {limit_s:d} s"))
def over_within(world, limit_s):
    assert world.streams[-1].ended.wait(limit_s), "the stream goes on"


@when(parsers.parse("I ask for {name} beside it"))
def beside(world, name):
    asked = world.home.stream(model=name, max_tokens=4)
    world.streams.append(asked)


@then(parsers.parse("rbee ps says that {name} waits for {other}"))
def says_waits(world, name, other):
    def waits():
        found = [one for one in world.home.workers() if one["model"] == name]
        return found and found[0]["waits_for"] == [other]

    eventually(waits, within_s=10)


@when("the configuration becomes")
def new_configuration(world, docstring):
    world.seen["pids"] = {one["model"]: one["pid"] for one in world.home.workers("READY")}
    fresh = world.home.path / "rbee.toml.new"
    fresh.write_text(docstring)
    os.replace(fresh, world.home.path / "rbee.toml")


@then(parsers.parse("{name} runs with {tokens:d} tokens of context within {limit_s:d} s"))
def runs_with(world, name, tokens, limit_s):
    def found():
        return [
            one
            for one in world.home.workers("READY")
            if one["model"] == name and one["context_tokens"] == tokens
        ]

    eventually(found, within_s=limit_s)


@then(parsers.parse("{name} has kept its process"))
def kept_process(world, name):
    (now,) = [one["pid"] for one in world.home.workers("READY", "BUSY") if one["model"] == name]
    assert now == world.seen["pids"][name]


@then(parsers.parse("a worker of {name} is ready within {limit_s:d} s"))
def ready_within(world, name, limit_s):
    eventually(
        lambda: [one for one in world.home.workers("READY") if one["model"] == name],
        within_s=limit_s,
    )


@when("I drain the worker")
def drained(world):
    worker = world.ready_worker()
    world.seen["pid"] = worker["pid"]
    world.keeper("workers", "drain", worker["id"])


@when("the other rbee is used from now on")
def other_from_now(world):
    world.home.env["PYTHONPATH"] = world.seen["elsewhere"]


@when(parsers.parse("{count:d} commands serve the model tiny at once"))
def serve_at_once(world, count):
    began = [world.home.begin("serve", "tiny", "--wait") for _ in range(count)]
    world.seen["codes"] = [(one.communicate(timeout=60), one.returncode)[1] for one in began]


@then("all of them exit with 0")
def all_zero(world):
    assert set(world.seen["codes"]) == {0}, world.seen["codes"]


@then(parsers.parse("there is {count:d} worker"))
def count_workers(world, count):
    eventually(lambda: len(world.home.workers()) == count, within_s=10)


@when("I begin to serve the model tiny, and stop it")
def begin_and_stop(world):
    world.home.begin("serve", "tiny", "--no-wait").communicate(timeout=20)
    world.keeper("stop", "tiny")


@when("I stop the model tiny and serve it again while it drains")
def stop_and_serve(world):
    stopping = world.home.begin("stop", "tiny")
    eventually(lambda: world.home.workers("DRAINING"), within_s=10)
    world.keeper("serve", "tiny", "--wait")
    stopping.communicate(timeout=60)


@when("I run what it advises")
def advised(world):
    """The command of its own words, as it stands there."""
    told = re.search(r"rbee (serve tiny --ctx \d+ --parallel \d+)", world.outcome.err)
    assert told, str(world.outcome)
    world.keeper(*told.group(1).split())


@given(parsers.parse("an answer of {count:d} tokens is running"))
def answer_running(world, count):
    """It ends at its last token and not before."""
    stream = world.home.stream(prompt="Tell a story.", max_tokens=count, ignore_eos=True)
    world.streams.append(stream)
    eventually(lambda: stream.tokens > 2, within_s=20)


@when("a new version of tiny is pulled while a client asks again and again")
def swapped(world):
    """Until the new version has answered."""
    old = world.ready_worker()
    answers, over = [], threading.Event()

    def client():
        while not over.is_set():
            answers.append(world.home.chat(max_tokens=4))

    asking = threading.Thread(target=client, daemon=True)
    asking.start()
    file = world.home.file()
    fresh = file.with_name("fresh")
    shutil.copy(world.home.model, fresh)
    files.marked(fresh, 9)
    fresh.replace(file)
    world.keeper("models", "pull", str(file))

    def taken_over():
        found = [one for one in world.home.workers("READY", "BUSY") if one["id"] != old["id"]]
        return found and found[0]["id"] in workers_of(answers) and found[0]

    try:
        new = eventually(taken_over, within_s=40)
        world.seen["beside"] = {one["id"]: one["digest"] for one in world.home.workers()}
        assert not world.streams[-1].ended.is_set(), "the stream was over before the new version"
    finally:
        over.set()
        asking.join(60)
    world.seen.update(answers=answers, old=old, new=new)


def workers_of(answers):
    """Who gave the answers, in their order."""
    return [one.json()["rbee"]["worker"] for one in answers if one.status_code == 200]


@then("the stream ended with its finish, on the old version")
def finished_on_old(world):
    stream = world.streams[-1]
    assert stream.ended.wait(60), "the stream hangs"
    (finish,) = [line for line in stream.lines if '"finish_reason":"' in line]
    told = json.loads(finish.removeprefix("data: "))["rbee"]
    assert told["worker"] == world.seen["old"]["id"] and not told.get("splices"), told


@then("every answer was 200, first of the old version, then of the new one")
def old_then_new(world):
    all_served(world)
    old, new = world.seen["old"]["id"], world.seen["new"]["id"]
    assert set(workers_of(world.seen["answers"])) == {old, new}
    print(f"{len(world.seen['answers'])} answers across the swap")


@then("both versions were shown beside one another")
def shown_beside(world):
    old, new = world.seen["old"], world.seen["new"]
    assert old["digest"] != new["digest"]
    assert world.seen["beside"] == {old["id"]: old["digest"], new["id"]: new["digest"]}
