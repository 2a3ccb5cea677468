"""Keys: who gets in, for how long, how often."""

from __future__ import annotations

import json

from pytest_bdd import given, parsers, then, when

import plain_http
from eventually import eventually


def made(world, flags):
    outcome = world.keeper("keys", "create", "--json", *flags.split())
    assert outcome.code == 0, str(outcome)
    return json.loads(outcome.out)


@given(parsers.parse("a key {name} made with {flags}"))
def key_with(world, name, flags):
    world.seen[name] = made(world, flags)
    world.home.key = world.home.key or world.seen[name]["key"]


@given(parsers.re(r"a key (?P<name>\w+)$"))
def plain_key(world, name):
    key_with(world, name, "")


@given(parsers.parse("the key {name} is in the environment"))
def in_environment(world, name):
    world.home.env["RBEE_KEY"] = world.seen[name]["key"]


@when(parsers.parse("the key {name} requests {method} {path}"))
def ask_with_key(world, method, path, name):
    world.ask(method, path, headers={"authorization": f"Bearer {world.seen[name]['key']}"})


@when(parsers.parse("I ask for {count:d} tokens with the key {name} as x-api-key"))
def chat_with_key(world, count, name):
    body = {"model": "tiny", "max_tokens": count, "messages": [{"role": "user", "content": "Hi"}]}
    world.answer = plain_http.post(
        world.home.url + "/v1/messages",
        json=body,
        headers={"x-api-key": world.seen[name]["key"]},
        timeout=60,
    )


@when(parsers.parse("nobody in particular requests {method} {path}"))
def ask_without(world, method, path):
    world.answer = plain_http.request(method, world.home.url + path, timeout=60)


@when(parsers.parse("the key {name} is revoked"))
def revoked(world, name):
    outcome = world.keeper("keys", "revoke", world.seen[name]["id"])
    assert outcome.code == 0, str(outcome)


@when(parsers.parse("rbee is run over the network with the key {name}: {words}"))
def over_network(world, name, words):
    env = world.home.env
    env["RBEE_URL"], env["RBEE_KEY"] = world.home.url, world.seen[name]["key"]
    try:
        world.keeper(*words.split())
    finally:
        del env["RBEE_URL"], env["RBEE_KEY"]


@when(parsers.parse("the key {name} has expired"))
def expired(world, name):
    def refused():
        ask_with_key(world, "GET", "/v1/models", name)
        return world.answer.status_code == 401

    eventually(refused, within_s=20)


@when(parsers.parse("the key {name} asks until it is refused"))
def ask_until_refused(world, name):
    head = {"authorization": f"Bearer {world.seen[name]['key']}"}
    body = {"model": "tiny", "content": "hello"}
    world.seen["served"] = []
    for _ in range(100):
        world.ask("POST", "/tokenize", json=body, headers=head)
        if world.answer.status_code != 200:
            return
        world.seen["served"].append(world.answer)
    raise AssertionError("it was never refused")


@then(parsers.parse("{count:d} or a few more requests were served, each told what was left"))
def served_so_many(world, count):
    served = world.seen["served"]
    assert count <= len(served) <= count + 3, len(served)
    left = [int(one.headers["x-ratelimit-remaining-requests"]) for one in served]
    assert left[0] == count - 1 and left[-1] == 0, left
    assert all(one.headers["x-ratelimit-limit-requests"] == str(count) for one in served)


@then(parsers.parse("the key {name} is served again after the time that it was told"))
def served_after(world, name):
    wait_s = int(world.answer.headers["retry-after"])
    head = {"authorization": f"Bearer {world.seen[name]['key']}"}
    body = {"model": "tiny", "content": "hello"}

    def again():
        world.ask("POST", "/tokenize", json=body, headers=head)
        return world.answer.status_code == 200

    eventually(again, within_s=wait_s + 0.5)


@then(parsers.parse("the secret of the key {name} is nowhere in the home or the processes of rbee"))
def no_secret(world, name):
    secret = world.seen[name]["key"].split("_")[2].encode()
    found = [one for one in world.home.path.rglob("*") if one.is_file()]
    files = [one for one in found if one.stat().st_size < 1 << 20]
    assert files and not [str(one) for one in files if secret in one.read_bytes()]
    processes = world.home.processes()
    assert processes
    told = [str([one.cmdline(), one.environ()]) for one in processes]
    assert not [one for one in told if secret.decode() in one]
