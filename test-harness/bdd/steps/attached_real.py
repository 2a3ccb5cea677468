"""A real llama-server and another rbee, attached, and what befalls them in mid-answer."""

from __future__ import annotations

import json
import os
import signal
import threading
from functools import partial

import pytest
from pytest_bdd import given, parsers, then, when

import plain_http
from eventually import eventually
from faults.llama_server import LlamaServer
from faults.proxy import Sickness, proxy
from steps.attached import attach
from world import Home

NO_BINARY = "program: RBEE_TEST_LLAMA_SERVER names no llama-server"
TOKENS = 40
NAMES = {"llama-server": "a1", "other rbee": "a2"}


@pytest.fixture
def llama_server(model, tmp_path):
    binary = os.environ.get("RBEE_TEST_LLAMA_SERVER", "")
    if not binary:
        pytest.skip(NO_BINARY)
    found = LlamaServer(binary, model, tmp_path / "llama-server.log", name="tiny")
    yield found
    found.end()


@pytest.fixture
def other_home(model):
    """An rbee of somebody else, with an RBEE_HOME of its own."""
    found = Home(model)
    yield found
    found.end()


@given("a real llama-server is attached")
def llama_attached(world, llama_server):
    attach(world, llama_server.port)


@given("another rbee that asks for a key is attached")
def rbee_attached(world, other_home, tmp_path):
    outcome = other_home.keeper("serve", str(other_home.file()), "--wait")
    assert outcome.code == 0, str(outcome)
    made = json.loads(other_home.keeper("keys", "create", "--json").out)
    other_home.key = made["key"]
    key_file = tmp_path / "key"
    key_file.write_text(made["key"] + "\n")
    key_file.chmod(0o600)
    port = int(other_home.url.rsplit(":", 1)[1])
    assert plain_http.get(other_home.url + "/v1/models", timeout=10).status_code == 401
    attach(world, port, "--key-file", str(key_file))


@given(parsers.parse("a real llama-server is attached behind {count:d} proxies"))
def behind_proxies(world, llama_server, broken_wires, count):
    world.seen["proxies"] = [
        broken_wires.enter_context(proxy(llama_server.port)) for _ in range(count)
    ]
    for one in world.seen["proxies"]:
        attach(world, one.port)


# --- when ------------------------------------------------------------------------------------


def interrupt(world, id_, deed):
    """An answer that this worker begins, and what is done at its fifth token."""
    for _ in range(6):
        stream = world.home.stream(max_tokens=TOKENS, temperature=0)
        eventually(partial(has_begun, stream), within_s=20)
        busy = [one["id"] for one in world.home.workers() if one["busy"]]
        if busy == [id_] and not stream.ended.is_set():
            deed()
            assert stream.ended.wait(30)
            world.seen["stream"] = stream
            return
        assert stream.ended.wait(30)
    raise AssertionError(f"{id_} was asked for no answer")


def has_begun(stream):
    return stream.tokens >= 5 or stream.ended.is_set()


@when("the llama-server gets SIGKILL in the middle of an answer from it")
def llama_killed(world, llama_server):
    interrupt(world, "a1", llama_server.kill)


@when("the llama-server is started anew")
def llama_again(llama_server):
    llama_server.again()


@when("the llama-server gets SIGSTOP in the middle of an answer from it")
def llama_frozen(world, llama_server):
    try:
        interrupt(world, "a1", llama_server.freeze)
    finally:
        llama_server.thaw()


@when("the other rbee is killed in the middle of an answer from it")
def rbee_killed(world, other_home):
    pid = other_home.said("queen.json")["pid"]
    interrupt(world, "a2", lambda: os.kill(pid, signal.SIGKILL))


def ask(world, answers, tokens):
    answers.append(world.home.chat(max_tokens=tokens, temperature=0))


def begin_at_once(world, count, tokens):
    """So many clients; gives their answers and their threads."""
    answers = world.seen["answers"] = []
    threads = [
        threading.Thread(target=ask, args=(world, answers, tokens), daemon=True)
        for _ in range(count)
    ]
    for one in threads:
        one.start()
    return answers, threads


def health(world):
    return world.home.workers()[0]["health"]


@when(parsers.parse("the first proxy cuts each answer after {count:d} events"))
def cuts_each(world, count):
    world.seen["proxies"][0].sickness = Sickness(cuts_after=count)


@when("I ask, one after the other, until the first is cut off")
def until_cut_off(world):
    answers = world.seen["answers"] = []

    def asked_once_more():
        ask(world, answers, 8)
        return health(world)["breaker"] == "open"

    eventually(asked_once_more, within_s=40)


@when(
    parsers.parse(
        "the first proxy holds what it is told, and {count:d} clients ask once it may be tried"
    )
)
def hold_and_ask(world, count):
    first = world.seen["proxies"][0]
    first.sickness = Sickness(gate=threading.Event())
    eventually(lambda: health(world)["breaker"] == "half_open", within_s=10)
    world.seen["before"] = first.asked
    _, world.seen["threads"] = begin_at_once(world, count, 4)


@when("the first proxy lets it go")
def lets_go(world):
    world.seen["proxies"][0].sickness.gate.set()
    for one in world.seen["threads"]:
        one.join(20)


@when(parsers.parse("the first proxy lets each event wait for {pause_s:g} s"))
def lets_wait(world, pause_s):
    world.seen["proxies"][0].sickness = Sickness(pause_s=pause_s)


@when("I ask, four at a time, until the first is held back")
def until_held_back(world):
    def asked_four_times_more():
        _, threads = begin_at_once(world, 4, 2)
        for one in threads:
            one.join(30)
        return health(world)["slow"]

    slow = eventually(asked_four_times_more, within_s=60)
    assert slow["own_s"] > 3 * slow["peers_s"], slow


@when(parsers.parse("{count:d} clients ask for a short answer at once"))
def short_at_once(world, count):
    world.seen["before"] = world.seen["proxies"][0].asked
    _, threads = begin_at_once(world, count, 3)
    for one in threads:
        one.join(30)


# --- then ------------------------------------------------------------------------------------


@then(parsers.parse("the {name} went on with the answer, and that is said"))
def went_on(world, name):
    stream = world.seen["stream"]
    chunks = [json.loads(line[6:]) for line in stream.lines if line.startswith("data: {")]
    assert not any("error" in one for one in chunks), stream.text
    assert stream.lines[-2:][0] == "data: [DONE]" or "data: [DONE]" in stream.lines[-3:]
    ends = [one for one in chunks if one["choices"] and one["choices"][0]["finish_reason"]]
    rbee = ends[-1]["rbee"]
    (splice,) = rbee["splices"]
    assert (splice["mode"], splice["exact"]) == ("continue", False), rbee
    assert rbee["worker"] == NAMES[name] and splice["at_token"] >= 5, rbee
    assert ends[-1]["choices"][0]["finish_reason"] == "length" and stream.tokens >= TOKENS - 2
    world.seen["gap_s"] = splice["gap_ms"] / 1000


@then(parsers.parse("nobody waited longer than {limit_s:g} s for a token"))
def gap(world, limit_s):
    print(f"the gap at the splice was {world.seen['gap_s']:.2f} s")
    assert 1 <= world.seen["gap_s"] <= limit_s


@then(parsers.parse("rbee ps shows the {name} as {state}"))
def is_shown_as(world, name, state):
    def shown():
        return [one["state"] for one in world.home.workers() if one["id"] == NAMES[name]] == [state]

    eventually(shown, within_s=10)


def all_whole(world):
    for answer in world.seen["answers"]:
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["finish_reason"] == "length", answer.text
    return len(world.seen["answers"])


@then(parsers.parse("all answers were whole, though {count:d} attempts broke off there"))
def broke_off(world, count):
    assert all_whole(world) >= count
    assert world.seen["proxies"][0].asked == count


@then(parsers.parse("{count:d} are answered by the second, and the first has the one"))
def has_the_one(world, count):
    eventually(lambda: len(world.seen["answers"]) == count, within_s=20)
    assert world.seen["proxies"][0].asked - world.seen["before"] == 1
    assert health(world)["breaker"] == "half_open"


@then("all answers were whole, and the first gets work again")
def works_again(world):
    assert all_whole(world) == 8
    assert health(world)["breaker"] == "closed"
    begins = {answer.json()["rbee"]["worker"] for answer in world.seen["answers"]}
    assert begins == {"a1", "a2"}


@then(parsers.parse("all answers were whole, and at most {count:d} of them came from the first"))
def came_from_first(world, count):
    assert all_whole(world) == 12
    first = world.seen["proxies"][0].asked - world.seen["before"]
    print(f"{first} of 12 came from the slow one")
    assert first <= count
