"""Jobs: asked for, followed, left, attached to again, over the death of rbee too."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
from pytest_bdd import given, parsers, then, when

import plain_http
from eventually import eventually
from steps.acting import SIGNALS, pid_of
from world import Outcome, World, chat_body

PROMPT = "Tell a long story."


def make(world: World, tokens: int, **more: object) -> None:
    body = {"request": chat_body(PROMPT, max_tokens=tokens), **more}
    answer = world.ask("POST", "/v1/jobs", json=body)
    if answer.status_code == 202:
        world.seen["job"] = answer.json()["job_id"]


def events(world: World, after: str = "") -> Iterator[tuple[str, dict]]:
    """What an attached client gets, each event with its id."""
    headers = {"last-event-id": after} if after else {}
    url = f"{world.home.url}/v1/jobs/{world.seen['job']}/stream"
    with plain_http.stream("GET", url, headers=headers, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        id_ = ""
        for line in answer.iter_lines():
            if line.startswith("id: "):
                id_ = line[4:]
            if line.startswith("data: {") and id_:
                yield id_, json.loads(line[6:])
                id_ = ""


def text_of(found: list[tuple[str, dict]]) -> str:
    choices = [choice for _, chunk in found for choice in chunk.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def shown(world: World) -> dict:
    return plain_http.get(f"{world.home.url}/v1/jobs/{world.seen['job']}", timeout=10).json()


def whole(found: list[tuple[str, dict]]) -> str:
    """The text, once every event is proved to be there once and to have its own id."""
    numbers = [int(id_.partition("-")[0]) for id_, _ in found]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    text = text_of(found)
    assert found[-1][0].endswith(f"-{zlib.crc32(text.encode()):08x}"), found[-1][0]
    return text


@given("the state of rbee is on a small disk of its own")
def own_disk(world, small_disk):
    (world.home.path / "state").symlink_to(small_disk)
    world.seen["disk"] = small_disk


@when(parsers.parse("that disk is filled"))
def fill(world):
    file = Path(world.seen["disk"]) / "filler"
    with file.open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            return


@when("that disk is emptied")
def empty(world):
    (Path(world.seen["disk"]) / "filler").unlink()


@when(parsers.parse("I ask for a job of {tokens:d} tokens"))
def ask_job(world, tokens):
    make(world, tokens)


@when(parsers.parse("I ask for a job of {tokens:d} tokens too many"))
def ask_job_too_many(world, tokens):
    make(world, tokens)


@when(parsers.parse("I ask for a job of {tokens:d} tokens that ends with its client"))
def ask_job_with_client(world, tokens):
    make(world, tokens, on_disconnect="cancel")


@when(parsers.parse("a client follows it and leaves after {count:d} events"))
def follow_and_leave(world, count):
    for number, _ in enumerate(events(world), 1):
        if number == count:
            return


@when(parsers.parse("a client follows it until the queen gets {name} after {count:d} events"))
def follow_until(world, name, count):
    found = world.seen["events"] = []
    try:
        for one in events(world):
            found.append(one)
            if len(found) == count:
                os.kill(pid_of(world, "queen"), SIGNALS[name])
    except httpx.HTTPError as error:
        world.seen["broken"] = repr(error)
    assert world.seen.get("broken"), "the stream ended as if whole"


@when("the client attaches again after its last event")
def attach_again(world):
    found = world.seen["events"]
    found.extend(events(world, found[-1][0]))


@when(parsers.parse("I attach to it after the event {id_}"))
def attach_after(world, id_):
    path = f"/v1/jobs/{world.seen['job']}/stream"
    world.ask("GET", path, headers={"last-event-id": id_})


@when("I cancel the job")
def cancel(world):
    world.ask("DELETE", f"/v1/jobs/{world.seen['job']}")
    eventually(lambda: shown(world)["status"] not in ("queued", "running"), within_s=5)


@when("the journal of jobs is overwritten with noise")
def noise(world):
    for path in (world.home.path / "state").glob("jobs.sqlite*"):
        path.write_bytes(os.urandom(path.stat().st_size))


@when(parsers.parse("I ask twice for {tokens:d} tokens under the key {key}"))
def ask_twice(world, tokens, key):
    world.seen["answers"] = [under_key(world, tokens, key) for _ in range(2)]


@when(parsers.parse("I ask for {tokens:d} tokens under the key {key}"))
def ask_under_key(world, tokens, key):
    under_key(world, tokens, key)


@when(parsers.parse("I ask the route {path} under the key {key}"))
def ask_route_under_key(world, path, key):
    world.ask("POST", path, json={"model": "tiny", "input": "Hi"}, headers={"idempotency-key": key})


def under_key(world: World, tokens: int, key: str) -> httpx.Response:
    headers = {"idempotency-key": key}
    body = chat_body(PROMPT, max_tokens=tokens)
    return world.ask("POST", "/v1/chat/completions", json=body, headers=headers)


@when(parsers.parse("the queen gets {name} after {count:d} tokens of rbee {words}"))
def run_and_kill(world, words, name, count):
    world.seen["before"] = world.outcome.out
    process = begun(world, words, count)
    os.kill(pid_of(world, "queen"), SIGNALS[name])
    ended(world, words, process)


@when(parsers.parse("rbee goes down after {count:d} tokens of rbee {words}"))
def run_and_down(world, words, count):
    process = begun(world, words, count)
    assert world.home.keeper("down").code == 0
    ended(world, words, process)


def begun(world: World, words: str, count: int) -> subprocess.Popen[str]:
    """A command that asks, once its answer has so many tokens."""
    process = world.home.begin(*shlex.split(words))
    world.seen["job"] = eventually(lambda: running_job(world), within_s=20)
    read = events(world)
    for _ in range(count):
        next(read)
    return process


def ended(world: World, words: str, process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=60)
    world.outcome = Outcome(words, process.returncode, out, err, 0.0)


def running_job(world: World) -> str:
    found = plain_http.get(f"{world.home.url}/v1/jobs", timeout=10).json()["data"]
    return next((one["job_id"] for one in found if one["status"] == "running"), "")


@when(parsers.parse("the job is done within {limit_s:d} s"))
@then(parsers.parse("the job is done within {limit_s:d} s"))
def job_done(world, limit_s):
    eventually(lambda: shown(world)["status"] == "done", within_s=limit_s)


@then("the job is cancelled, with what came of it")
def job_cancelled(world):
    eventually(lambda: shown(world)["status"] == "cancelled", within_s=20)
    found = shown(world)
    assert found["partial"]["choices"][0]["message"]["content"], found
    assert found["error"]["code"] == "CANCELLED"


@then("its followers get every event once, and the text of its result")
def followers(world):
    found: list[list] = [[], []]
    threads = [
        threading.Thread(target=lambda into=into: into.extend(events(world))) for into in found
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found[0] == found[1]
    assert whole(found[0]) == result(world)


def result(world: World) -> str:
    return shown(world)["result"]["choices"][0]["message"]["content"]


@then(parsers.parse("a client that attaches after event {count:d} gets the rest"))
def rest(world, count):
    every = list(events(world))
    assert list(events(world, every[count - 1][0])) == every[count:]


@then("it has the whole answer of the job, every event once")
def every_event_once(world):
    assert whole(world.seen["events"]) == result(world)


@then("both answers are the same, of the same job")
def same_answers(world):
    first, second = world.seen["answers"]
    assert first.status_code == 200 and first.json() == second.json()
    assert first.headers["x-request-id"] == second.headers["x-request-id"]


@then("it printed the text of the job")
def printed_job(world):
    assert world.outcome.out.rstrip("\n") == result(world).rstrip("\n"), str(world.outcome)


@then("it printed the same answer as before")
def printed_same(world):
    assert world.outcome.out == world.seen["before"], str(world.outcome)


@then("the part that it printed is kept, and its place told")
def part_kept(world):
    (told,) = re.findall(r"\S+/partials/\S+\.txt", world.outcome.err)
    path = Path(told)
    assert path.stem == world.seen["job"] and path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().rstrip("\n") == world.outcome.out.rstrip("\n") != ""
