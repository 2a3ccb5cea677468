"""A server on the other side of a network, attached to rbee; both sides are namespaces."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass, field

import httpx
from pytest_bdd import given, parsers, then, when

from eventually import eventually
from faults.network import CLIENT_ADDRESS
from steps.partitions import DEEDS
from world import RBEE

TOKENS = 60
GAP_S = "0.03"
PROMPT_S = "20"


@dataclass
class Answer:
    """What rbee says, read by a thread over its socket: its port is on the other side."""

    text: str = ""
    rbee: dict[str, object] = field(default_factory=dict)
    error: dict[str, object] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def take(self, line: str) -> None:
        if not line.startswith("data: {"):
            return
        value = json.loads(line[6:])
        self.error = value.get("error") or self.error
        self.rbee = value.get("rbee") or self.rbee
        for choice in value.get("choices", ()):
            self.text += choice["delta"].get("content") or ""


def client(world):
    socket = str(world.home.path / "run" / "admin.sock")
    transport = httpx.HTTPTransport(uds=socket)
    return httpx.Client(transport=transport, base_url="http://127.0.0.1", timeout=60)


def ask(world, prompt="Go"):
    found = Answer()
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "hermes", "max_tokens": TOKENS, "stream": True, "messages": messages}

    def read():
        with (
            client(world) as http,
            http.stream("POST", "/v1/chat/completions", json=body) as answer,
        ):
            for line in answer.iter_lines():
                found.take(line)
        found.ended.set()

    threading.Thread(target=read, daemon=True).start()
    return found


def workers(world):
    with client(world) as http:
        return {one["id"]: one for one in http.get("/rbee/ps").json()["workers"]}


def attach(world, port, host):
    outcome = world.home.keeper("workers", "attach", f"http://{host}:{port}/v1")
    assert outcome.code == 0, str(outcome)


@given("rbee is on one side of a network, and a server with the model hermes on the other")
def far_server(world, cable, servers):
    up = [*cable.there(cable.rbee_side), RBEE, "up", "--detach"]
    subprocess.run(up, env=world.home.env, check=True, capture_output=True, timeout=60)
    flags = ["--model", "hermes", "--host", CLIENT_ADDRESS, "--gap-s", GAP_S]
    port = servers.start(
        *flags, "--prompt-s", PROMPT_S, before=tuple(cable.there(cable.client_side))
    )
    attach(world, port, CLIENT_ADDRESS)


@given("a second server with the model hermes runs beside rbee")
def near_server(world, cable, servers):
    before = tuple(cable.there(cable.rbee_side))
    port = servers.start("--model", "hermes", "--gap-s", GAP_S, before=before)
    attach(world, port, "127.0.0.1")


def from_there(world, prompt="Go"):
    """An answer that the server there gives; the servers take turns."""
    for _ in range(4):
        answer = ask(world, prompt)
        eventually(lambda: any(one["busy"] for one in workers(world).values()), within_s=10)
        if workers(world)["a1"]["busy"]:
            world.seen["answer"] = answer
            return answer
        assert answer.ended.wait(20)
    raise AssertionError("the server there was asked for no answer")


def in_the_middle(answer):
    def begun():
        return len(answer.text.split()) > 5

    eventually(begun, within_s=20)


@when(parsers.re(rf"the network (?P<deed>{'|'.join(DEEDS)}) in the middle of an answer from there"))
def fault_there(world, cable, deed):
    in_the_middle(from_there(world))
    getattr(cable, DEEDS[deed])()


@when(parsers.parse("the link is down for {seconds:g} s in the middle of an answer from there"))
def flap_there(world, cable, seconds):
    in_the_middle(from_there(world))
    cable.flap(seconds)


@when(
    parsers.parse(
        "the network loses {percent:d} of a hundred packets in the middle of an answer, "
        "for {seconds:g} s at most"
    )
)
def loss_there(world, cable, percent, seconds):
    """The kernel doubles its patience with each loss: without an end it may take a minute."""
    answer = from_there(world)
    in_the_middle(answer)
    cable.lose_share(percent)
    answer.ended.wait(seconds)
    cable.mend()


@when("the network drops everything while the server there reads a prompt")
def drop_in_prompt(world, cable):
    from_there(world, "Read long")
    cable.drop_everything()


def whole(world):
    answer = world.seen["answer"]
    assert answer.ended.wait(40), answer
    assert not answer.error, answer.error
    assert answer.text == "".join(f"{number} " for number in range(TOKENS)), answer
    return answer.rbee


@then("the answer is whole")
def is_whole(world):
    whole(world)


@then("the answer is whole, and the server beside rbee went on")
def went_on(world):
    rbee = whole(world)
    assert [one["mode"] for one in rbee["splices"]] == ["continue"], rbee
    assert ([one["worker"] for one in rbee["attempts"]], rbee["worker"]) == (["a1"], "a2"), rbee


@then("the answer is whole, and the server beside rbee gave all of it")
def gave_all(world):
    rbee = whole(world)
    (attempt,) = rbee["attempts"]
    assert (attempt["worker"], attempt["code"]) == ("a1", "WORKER_LOST"), rbee
    assert attempt["after_ms"] < 8_000 and "splices" not in rbee, rbee


@then("the answer is whole, and nothing broke off")
def unbroken(world):
    assert "attempts" not in whole(world)


@then(parsers.parse("the server there is shown as {state}"))
def shown(world, state):
    eventually(lambda: workers(world)["a1"]["state"] == state, within_s=20)
