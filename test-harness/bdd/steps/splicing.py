"""Answers whose workers are taken away in the middle."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from pytest_bdd import given, parsers, then, when

import plain_http
from eventually import eventually
from steps.acting import SIGNALS
from told import Told

STORY = [{"role": "user", "content": "Tell me a story about the sea."}]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 30},
        "age": {"type": "integer"},
        "city": {"type": "string", "maxLength": 30},
    },
    "required": ["name", "age", "city"],
}


def story(tokens: int) -> dict[str, Any]:
    return {"messages": STORY, "temperature": 0, "max_tokens": tokens}


def request(what: str) -> tuple[str, dict[str, Any]]:
    """The path and the body of what a scenario calls by name."""
    chat = "/v1/chat/completions"
    if what.startswith("a story of "):
        return chat, story(int(what.split()[3]))
    form = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
    person = [{"role": "user", "content": "Invent a person. Answer in JSON."}]
    drawn = {"messages": STORY, "temperature": 0.9, "seed": 11, "max_tokens": 40}
    return {
        "a JSON form": (
            chat,
            {"messages": person, "response_format": form, "seed": 3, "max_tokens": 80},
        ),
        "two choices": (chat, {**drawn, "n": 2}),
        "a drawn lot": (chat, drawn),
        "a raw text": (
            "/v1/completions",
            {"prompt": "The sea is", "temperature": 0, "max_tokens": 32},
        ),
    }[what]


def listen(world, path, body, deeds=(), headers=None) -> Told:
    """Read an answer; each deed is a token count and what is done there to the serving worker."""
    told, waiting = Told(), list(deeds)
    victim, known = None, 0
    asked = {"model": "tiny", "stream": True, "stream_options": {"include_usage": True}, **body}
    began = time.monotonic()
    with plain_http.stream(
        "POST", world.home.url + path, json=asked, headers=headers, timeout=60
    ) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                told.take(line[6:], time.monotonic() - began)
            if waiting and victim is None and len(told.times) > known:
                # Asked at its first token: at the last of a short answer it would be too late.
                victim = serving(world)
            if waiting and victim is not None and len(told.times) >= waiting[0][0]:
                os.kill(victim["pid"], SIGNALS[waiting.pop(0)[1]])
                victim, known = None, len(told.times)
    assert not waiting, f"it was over before {waiting}"
    return told


def serving(world):
    """The worker that has the answer; the one that was there before may still be listed."""
    gone = world.seen.setdefault("gone", [])

    def busy():
        found = [one for one in world.home.workers() if one["busy"] and one["pid"] not in gone]
        return found[0] if found else None

    worker = eventually(busy, within_s=10)
    gone.append(worker["pid"])
    return worker


def both_ready(world):
    replicas = 2 if world.pair else len(world.home.workers())
    eventually(lambda: len(world.home.workers("READY")) == replicas, within_s=60)


@given(parsers.parse("the uninterrupted answer to {what}"))
def uninterrupted(world, what):
    known = world.home.answers_known
    if what not in known:
        both_ready(world)
        known[what] = listen(world, *request(what))
        assert known[what].over and not known[what].error
    world.seen["what"], world.seen["reference"] = what, known[what]


@when(parsers.parse("the same is asked, and its worker gets {name} at token {token:d}"))
def struck(world, name, token):
    both_ready(world)
    world.seen["told"] = listen(world, *request(world.seen["what"]), [(token, name)])


@when(parsers.parse("the same is asked exactly, and its worker gets {name} at token {token:d}"))
def struck_exactly(world, name, token):
    both_ready(world)
    path, body = request(world.seen["what"])
    headers = {"x-rbee-exact": "1"}
    world.seen["told"] = listen(world, path, body, [(token, name)], headers)


@when(parsers.parse("the same is asked, and its worker gets {name} at {share:d} % of it"))
def struck_at(world, name, share):
    struck(world, name, len(world.seen["reference"].times) * share // 100)


@when(parsers.parse("the same is asked, and its workers get {name} at the tokens {tokens}"))
def struck_often(world, name, tokens):
    both_ready(world)
    counts = [int(one) for one in tokens.replace(" and ", ", ").split(", ")]
    deeds = [(count, name) for count in counts]
    world.seen["told"] = listen(world, *request(world.seen["what"]), deeds)


@when("the same is asked in one piece, and its worker gets SIGKILL")
def struck_in_one_piece(world):
    both_ready(world)
    path, body = request(world.seen["what"])
    began = world.home.begin_ask(path, {"model": "tiny", **body})
    worker = serving(world)
    eventually(lambda: tokens_made(worker) > 5, within_s=10)
    os.kill(worker["pid"], SIGNALS["SIGKILL"])
    world.answer = began.result(60)


def tokens_made(worker):
    """How far the worker is, by the processor time that it took: a token costs some 15 ms."""
    import psutil

    process = psutil.Process(worker["pid"])
    return (process.cpu_times().user - worker.setdefault("cpu_s", process.cpu_times().user)) / 0.015


@given("a chat of two turns with a long beginning")
def two_turns(world):
    both_ready(world)
    messages = [{"role": "user", "content": "A fox, a bear and a hare met in the woods. " * 25}]
    for words in ("And then?", "Write a long story about the hare."):
        answer = world.home.chat(messages=messages, max_tokens=8, temperature=0)
        said = answer.json()["choices"][0]["message"]["content"]
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": words}]
    world.seen["messages"] = messages


@when(parsers.parse("the third turn is asked, and its worker gets {name} at token {token:d}"))
def third_turn(world, name, token):
    body = {"messages": world.seen["messages"], "max_tokens": 24, "temperature": 0}
    path = "/v1/chat/completions"
    world.seen["reference"] = None
    world.seen["told"] = listen(world, path, body, [(token, name)])


@then("the client has the uninterrupted answer with its usage")
def whole(world):
    told, reference = world.seen["told"], world.seen["reference"]
    assert told.over and not told.error, told.error
    assert told.whole == reference.whole
    assert len(told.ids) == 1, told.ids


@then("the answer was replayed exactly")
def replayed(world):
    rbee = world.seen["told"].rbee
    assert [(one["mode"], one["exact"]) for one in rbee["splices"]] == [("replay", True)], rbee
    assert len(rbee["attempts"]) == 1, rbee


@then("the client has all tokens, and the answer was continued")
def was_continued(world):
    told, reference = world.seen["told"], world.seen["reference"]
    (splice,) = told.rbee["splices"]
    assert (splice["mode"], splice["exact"]) == ("continue", False)
    assert told.over and told.finish == {0: "length"} and len(told.ids) == 1
    assert len(told.usages) == 1
    if reference is not None:
        assert told.usages[0]["prompt_tokens"] == reference.usages[0]["prompt_tokens"]
        assert told.usages[0]["completion_tokens"] == reference.usages[0]["completion_tokens"]
        before = len(told.texts[0]) // 2
        assert told.texts[0][:before] == reference.texts[0][:before]


@then(parsers.parse("the client waited at most {limit_s:g} s more than the replay took"))
def gap(world, limit_s):
    told, reference = world.seen["told"], world.seen["reference"]
    (splice,) = told.rbee["splices"]
    replay_s = reference.times[min(splice["at_token"], len(reference.times) - 1)]
    gaps = [after - before for before, after in zip(told.times, told.times[1:], strict=False)]
    assert max(gaps) <= limit_s + replay_s, (max(gaps), replay_s, told.rbee)


@then("the one piece is the uninterrupted answer, declared as spliced")
def one_piece(world):
    reference, value = world.seen["reference"], world.answer.json()
    assert value["choices"][0]["message"]["content"] == reference.texts[0]
    assert value["usage"]["completion_tokens"] == reference.usages[0]["completion_tokens"]
    assert value["rbee"]["attempts"], value["rbee"]


@then(parsers.parse("the event log tells of {count:d} splices of this answer, and of no loss"))
def told_events(world, count):
    job = world.seen["told"].rbee["job_id"]
    lines = world.home.keeper("events", "--json", "--job", job).out.splitlines()
    outcomes = [json.loads(line)["outcome"] for line in lines]
    assert outcomes == ["ok"] * count, lines


@then(parsers.parse("the answer ends in {code} after {count:d} attempts, with what there was"))
def given_up(world, code, count):
    told, reference = world.seen["told"], world.seen["reference"]
    assert told.over and not told.finish and told.error["code"] == code, told.error
    assert len(told.error["attempts"]) == count, told.error
    assert reference.texts[0].startswith(told.texts[0]) and told.texts[0]


@then("it counts replays and continuations")
def counted(world):
    lines = world.answer.text.splitlines()
    for mode, exact in (("replay", "true"), ("continue", "false")):
        start = f'rbee_splices_total{{exact="{exact}",mode="{mode}"}}'
        assert any(line.startswith(start) for line in lines), lines
