"""Servers that somebody else runs: started here, attached, and broken."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then, when

import plain_http
from eventually import eventually
from faults import openai_double
from faults.proxy import Arm, proxy
from steps.splicing import listen

KEY = "sk-other-5f8e0c1d2b"
CHAT = "/v1/chat/completions"


class Servers:
    """The doubles of one scenario; all end with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self.argv: list[str] = []
        self.ports: list[int] = []

    def start(self, *flags: str, before: tuple[str, ...] = ()) -> int:
        """Another one; gives its port."""
        log = self.folder / f"asked-{len(self.processes)}.jsonl"
        self.argv = [*before, sys.executable, openai_double.__file__, "--log", str(log), *flags]
        process = subprocess.Popen(
            self.argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.processes.append(process)
        assert process.stdout is not None
        self.ports.append(int(process.stdout.readline()))
        return self.ports[-1]

    def again(self, *flags: str) -> None:
        """The last one, on its port."""
        self.processes[-1].kill()
        self.processes[-1].wait()
        argv = [*self.argv, "--port", str(self.ports[-1]), *flags]
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.processes.append(process)
        assert process.stdout is not None and process.stdout.readline()

    def asked(self) -> list[dict[str, object]]:
        """What all of them were asked."""
        logs = sorted(self.folder.glob("asked-*.jsonl"))
        return [json.loads(line) for log in logs for line in log.read_text().splitlines()]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def servers(tmp_path):
    found = Servers(tmp_path)
    yield found
    found.end()


@pytest.fixture
def broken_wires():
    with contextlib.ExitStack() as stack:
        yield stack


def attach(world, port, *flags):
    outcome = world.home.keeper("workers", "attach", f"http://127.0.0.1:{port}/v1", *flags)
    assert outcome.code == 0, str(outcome)


# --- given -----------------------------------------------------------------------------------


@given(
    parsers.re(r"a server of somebody else with the models? (?P<models>.+?)(?P<key> and a key)?$")
)
def one_server(world, servers, models, key):
    names = [word for name in models.split(" and ") for word in ("--model", name)]
    port = servers.start(*names, *(["--key", KEY] if key else []))
    key_file = servers.folder / "key"
    key_file.write_text(KEY + "\n")
    key_file.chmod(0o600)
    world.seen |= {"address": f"http://127.0.0.1:{port}/v1", "key_file": str(key_file)}


@given("it is attached")
def is_attached(world, servers):
    attach(world, servers.ports[-1])


@given("it is attached with its key")
def is_attached_with_key(world, servers):
    attach(world, servers.ports[-1], "--key-file", world.seen["key_file"])


@given("two servers of somebody else with the model hermes behind a broken proxy")
def two_servers(world, servers, broken_wires):
    world.seen["proxies"] = []
    for _ in range(2):
        between = broken_wires.enter_context(proxy(servers.start("--model", "hermes")))
        world.seen["proxies"].append(between)
        attach(world, between.port)


# --- when ------------------------------------------------------------------------------------


@when(parsers.parse("I ask the model {model} for {count:d} tokens"))
def ask_for(world, model, count):
    world.answer = world.home.chat(model=model, max_tokens=count)


@when(parsers.parse("I ask the model {model}: {prompt}"))
def ask_prompt(world, model, prompt):
    world.answer = world.home.chat(model=model, prompt=prompt)


@when("the server is killed")
def killed(servers):
    servers.processes[-1].kill()
    servers.processes[-1].wait()


@when("the server is started again")
def started_again(servers):
    servers.again()


@when("the server is started again with another key")
def started_with_another_key(servers):
    servers.again("--key", "sk-quite-another")


@when(parsers.parse("{count:d} requests ask for the digest of the worker of rbee's own"))
def ask_pinned(world, servers, count):
    (ours,) = own(world)
    world.seen["before"] = len(servers.asked())
    for _ in range(count):
        answer = world.home.chat(model=f"tiny@{ours['digest']}", max_tokens=2)
        assert answer.status_code == 200, answer.text


def until_own(world, headers=None):
    """An answer that rbee's own worker begins, and loses that worker at its tenth token."""
    for _ in range(4):
        eventually(lambda: own(world, "READY"), within_s=30)
        stream = world.home.stream(headers=headers, max_tokens=60, temperature=0)
        begun = partial(has_begun, stream)
        eventually(begun, within_s=20)
        busy = [one for one in own(world) if one["busy"]]
        if busy and not stream.ended.is_set():
            os.kill(busy[0]["pid"], signal.SIGKILL)
            assert stream.ended.wait(30)
            return stream
        assert stream.ended.wait(30)
    raise AssertionError("rbee's own worker was asked for no answer")


def own(world, *states):
    return [one for one in world.home.workers(*states) if not one["attached"]]


def has_begun(stream):
    return stream.tokens >= 10 or stream.ended.is_set()


@when("the worker of rbee's own gets SIGKILL in the middle of an answer")
def own_killed(world):
    world.seen["stream"] = until_own(world)


@when("the worker of rbee's own gets SIGKILL in the middle of an answer that must be exact")
def own_killed_exact(world):
    world.seen["stream"] = until_own(world, {"x-rbee-exact": "1"})


# --- then ------------------------------------------------------------------------------------


@then(parsers.parse("the text is {text}, and names {name} alone"))
def answer_is(world, text, name):
    value = world.answer.json()
    assert value["choices"][0]["message"]["content"].strip() == text, value
    assert value["model"] == name and "big/" not in world.answer.text, value
    assert value["usage"]["completion_tokens"] == len(text.split())


@then(parsers.parse("an embedding of {model} has {count:d} numbers"))
def embedding(world, model, count):
    answer = world.home.ask("POST", "/v1/embeddings", json={"model": model, "input": "Hi"})
    value = answer.json()
    assert len(value["data"][0]["embedding"]) == count and value["model"] == model, value


@then(parsers.parse("the server was asked for its own {theirs}, with its key and its own host"))
def was_asked(world, servers, theirs):
    for one in servers.asked():
        assert one["body"]["model"] == theirs
        assert one["headers"]["host"] == f"127.0.0.1:{servers.ports[-1]}"
        assert one["headers"]["authorization"] == f"Bearer {KEY}"


@then("the key stands in nothing that rbee wrote or said")
def no_key(world):
    said = [outcome.out + outcome.err for outcome in world.home.outcomes]
    said += [answer.text + str(answer.headers) for answer in world.home.answers]
    said += [world.home.keeper(*words.split()).out for words in ("ps --json", "events --json")]
    written = [
        path.read_text(errors="replace")
        for folder in ("logs", "state", "run")
        for path in (world.home.path / folder).rglob("*")
        if path.is_file()
    ]
    assert written and not [text for text in (*said, *written) if KEY in text]


@then("no worker is there")
def no_worker(world):
    assert world.home.workers() == []


@then(parsers.parse("I am told to come back in {seconds:d} s"))
def come_back(world, seconds):
    assert world.answer.headers["retry-after"] == str(seconds)


@then(parsers.parse("rbee ps says why the server cannot be used: {code}"))
def says_why(world, code):
    eventually(lambda: world.home.workers()[0]["problem"] == code, within_s=20)


@then(parsers.parse("everything that shows workers says FAILED and {code}"))
def shown_everywhere(world, code):
    eventually(lambda: world.home.workers("FAILED"), within_s=10)
    for words in ("ps", "workers list"):
        text = world.home.keeper(*words.split()).out
        assert "failed" in text and code in text, text
    listed = json.loads(world.home.keeper("workers", "list", "--json").out)
    assert (listed["state"], listed["problem"]) == ("FAILED", code)
    model = plain_http.get(world.home.url + "/v1/models/hermes", timeout=10).json()
    (server,) = model["rbee"]["attached"]
    assert (server["state"], server["problem"]) == ("FAILED", code)
    metrics = plain_http.get(world.home.url + "/metrics", timeout=10).text
    assert 'rbee_worker_slots{model="hermes",state="FAILED",worker="a1"}' in metrics


@then("it serves again by itself")
def serves_again(world):
    eventually(lambda: world.home.workers("READY"), within_s=10)
    answer = world.home.chat(model="hermes", max_tokens=3)
    assert answer.status_code == 200, answer.text


@then(parsers.parse("the model {model} answers again within {limit_s:d} s"))
def answers_again(world, model, limit_s):
    eventually(
        lambda: world.home.chat(model=model, max_tokens=3).status_code == 200, within_s=limit_s
    )


@then("the server runs on")
def runs_on(servers):
    assert servers.processes[-1].poll() is None


def armed(world, fault, after):
    arm = Arm(fault, after)
    for one in world.seen["proxies"]:
        one.arm = arm
    return arm


@then(
    parsers.re(
        r"an answer of (?P<count>\d+) tokens (?P<piece>in one piece )?is whole, "
        r"though the proxy (?P<fault>.+) after (?P<after>\d+) events"
    )
)
def repaired(world, count, piece, fault, after):
    arm = armed(world, fault, int(after))
    body = {"model": "hermes", "messages": [{"role": "user", "content": "Go"}]}
    body["max_tokens"] = int(count)
    whole = "".join(f"{number} " for number in range(int(count)))
    if piece:
        value = world.home.ask("POST", CHAT, json=body).json()
        text, usage, rbee = value["choices"][0]["message"]["content"], value["usage"], value["rbee"]
    else:
        told = listen(world, CHAT, body)
        assert told.over and not told.error and told.finish == {0: "length"}, told
        assert len(told.ids) == 1 and len(told.usages) == 1, told
        text, usage, rbee = told.texts[0], told.usages[0], told.rbee
    assert arm.struck
    assert text == whole and usage["completion_tokens"] == int(count), (text, usage)
    assert len(rbee.get("attempts", [])) == 1, rbee
    assert [one["mode"] for one in rbee.get("splices", [])] == (
        [] if fault == "drops the finish" else ["continue"]
    )
    assert len(rbee["attempts"]) == 1, rbee


@then("the server was asked for none of them")
def not_asked(world, servers):
    assert len(servers.asked()) == world.seen["before"], servers.asked()[-1]


@then("the answer was continued by the server, and says so")
def continued(world):
    text = world.seen["stream"].text
    chunk = next(line for line in text.splitlines() if '"splices"' in line)
    rbee = json.loads(chunk[6:])["rbee"]
    (splice,) = rbee["splices"]
    assert (splice["mode"], splice["exact"], rbee["worker"]) == ("continue", False, "a1")
    assert '"error"' not in text


@then(parsers.parse("the answer is given up with {code}"))
def ends_in(world, code):
    text = world.seen["stream"].text
    error = next(line for line in text.splitlines() if '"error"' in line)
    assert json.loads(error[6:])["error"]["code"] == code, error
