"""Then: what HTTP clients got."""

from __future__ import annotations

import json
from collections import Counter

from pytest_bdd import parsers, then

from eventually import eventually


@then("the answer has this id, and so has the log of rbee")
def has_id(world):
    assert world.answer.status_code == 200, world.answer.text
    assert world.answer.headers["x-request-id"] == world.seen["id"]
    job = world.answer.headers["x-rbee-job"]
    log = world.home.path / "logs" / "queen.log"

    def told():
        lines = log.read_text().splitlines()
        return any(world.seen["id"] in line and job in line for line in lines)

    eventually(told, within_s=2)


@then("the answer has another id")
def has_another_id(world):
    assert world.answer.status_code == 200, world.answer.text
    assert world.answer.headers["x-request-id"].startswith("job_")


@then(parsers.parse("the answer is {status:d}"))
def answered(world, status):
    assert world.answer.status_code == status, world.answer.text


@then(parsers.parse("the answer is {status:d} {code}"))
def answered_with_code(world, status, code):
    assert world.answer.status_code == status, world.answer.text
    assert world.error()["code"] == code, world.answer.text
    assert world.error()["action"], world.answer.text


@then(parsers.parse("its message says {text}"))
def message_says(world, text):
    assert text in world.error()["message"], world.answer.text


@then("SDKs are told not to retry")
def no_retry(world):
    assert world.answer.headers["x-should-retry"] == "false"


@then(parsers.parse("its {name} are {first:d} and {second:d}"))
def numbers(world, name, first, second):
    assert name == "numbers"
    details = world.error()["details"]
    assert details["context_tokens"] == second and details["prompt_tokens"] >= first


@then("nothing in it is a path")
def no_path(world):
    assert str(world.home.path) not in world.answer.text
    assert ".gguf" not in world.answer.text


@then("a request is served")
def served(world):
    answer = world.home.chat()
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]


@then(parsers.parse("the stream ends with the error {codes}, and then [DONE]"))
def stream_error(world, codes):
    stream = world.streams[-1]
    assert stream.ended.wait(20), "the stream hangs"
    data = [line for line in stream.lines if line.startswith("data: ")]
    assert data[-1] == "data: [DONE]", stream.lines[-4:]
    error = json.loads(data[-2][6:])["error"]
    assert error["code"] in codes.split(" or "), error
    assert not any('"finish_reason":"' in line for line in data)


@then("the stream ends with its finish or with SHUTTING_DOWN")
def stream_over(world):
    stream = world.streams[-1]
    assert stream.ended.wait(40), "the stream hangs"
    assert '"finish_reason":"' in stream.text or "SHUTTING_DOWN" in stream.text, stream.lines[-4:]


@then("the stream ends with its finish")
def stream_finished(world):
    stream = world.streams[-1]
    assert stream.ended.wait(40), "the stream hangs"
    assert '"finish_reason":"' in stream.text, stream.lines[-4:]


@then(parsers.parse("the slot is free within {limit_s:g} s"))
def slot_free(world, limit_s):
    def free():
        return not any(one["busy"] for one in world.home.workers()) or world.home.workers()

    def idle():
        return all(one["state"] == "READY" for one in world.home.workers())

    eventually(lambda: free() is True and idle(), within_s=limit_s)


@then(parsers.parse("each was answered with one of {statuses}"))
def each_answered(world, statuses):
    counts = Counter(str(one.status_code) for one in world.seen["answers"])
    assert set(counts) <= set(statuses.split(", ")), counts
    refused = [one for one in world.seen["answers"] if one.status_code == 503]
    assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
    world.seen["counts"] = counts


@then(parsers.parse("at least {count:d} of them got {status}"))
def at_least(world, count, status):
    assert world.seen["counts"][status] >= count, world.seen["counts"]


@then(parsers.parse("it holds {count:d} numbers"))
def embedding(world, count):
    assert len(world.answer.json()["data"][0]["embedding"]) == count


@then(parsers.parse("the models listed are {names}"))
def listed(world, names):
    entries = world.answer.json()["data"]
    assert [one["id"] for one in entries] == names.split(", ")
    assert all(
        {"created", "owned_by", "context_length", "max_model_len"} <= set(one) for one in entries
    )


@then("a look at its health is answered")
def healthy(world):
    eventually(lambda: world.ask("GET", "/health").status_code == 200, within_s=5)


@then(parsers.parse("the bytes were answered with {status:d} {code}"))
def raw_answer(world, status, code):
    head, _, body = world.seen["raw"].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status), world.seen["raw"]
    assert json.loads(body)["error"]["code"] == code


@then(parsers.parse("health was answered within {limit_ms:d} ms all the while"))
def responsive(world, limit_ms):
    assert world.seen["pull"][0] == 0, world.seen["pull"]
    assert world.seen["looks"] > 20
    assert world.seen["slowest_s"] * 1000 < limit_ms, world.seen["slowest_s"]
