"""Clients of every kind: each asks something, and judges what it got as its user would."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import httpx

import plain_http
from soak.ledger import End, Result
from soak.questions import CHAT, QUESTIONS, RUBBISH, asked, body
from soak.stack import Stack
from told import Told

LIMIT_S = 300
"""Longer than anything here may take, waiting lines and restarts on a busy machine included."""


def refused(answer: httpx.Response) -> Result:
    """An answer that is none: it must have a code."""
    try:
        code = answer.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return Result(End.LOST, note=f"{answer.status_code} without a code: {answer.text[:200]}")
    return Result(End.REFUSED, code, answer.text[:300])


def judged(told: Told, reference: Told, expected_tokens: int) -> Result:
    """A stream that has ended."""
    if told.error:
        end = End.REFUSED if "status" in told.rbee else End.ENDED
        return Result(end, str(told.error.get("code")), str(told.error)[:300])
    if not told.over or not told.finish:
        return Result(End.LOST, note=f"no finish: {told}"[:600])
    splices = told.rbee.get("splices") or []
    if any(not one["exact"] for one in splices):
        counts = {one["completion_tokens"] for one in told.usages}
        too_many = told.finish == {0: "length"} and counts != {expected_tokens}
        return Result(End.CONTINUED, twice=f"{counts} tokens: {splices}" if too_many else "")
    differs = told.whole[:2] != reference.whole[:2]
    twice = f"{told.texts} is not {reference.texts}: {told.rbee}" if differs else ""
    return Result(End.EXACT if splices else End.FINISHED, twice=twice)


def streamed(stack: Stack, dice: random.Random) -> Result:
    question = dice.choice(QUESTIONS)
    headers = {"x-rbee-exact": "1"} if dice.random() < 0.3 else {}
    return judged(stack.hear(question, headers), stack.known[question], question.tokens)


def in_one_piece(stack: Stack, dice: random.Random) -> Result:
    question = dice.choice(QUESTIONS)
    answer = plain_http.post(stack.url + question.path, json=body(question), timeout=LIMIT_S)
    return piece(answer, stack.known[question], question.tokens)


def piece(answer: httpx.Response, reference: Told, tokens: int) -> Result:
    if answer.status_code != 200:
        return refused(answer)
    return judged(told_of(answer.json()), reference, tokens)


def told_of(value: dict[str, Any]) -> Told:
    """An answer in one piece, as if it had been streamed."""
    told = Told(rbee=value.get("rbee") or {}, over=True, usages=[value["usage"]])
    for one in value["choices"]:
        told.texts[one["index"]] = (one.get("message") or {}).get("content") or one.get("text")
        told.finish[one["index"]] = one["finish_reason"]
    return told


def once(stack: Stack, dice: random.Random) -> Result:
    """With an Idempotency-Key, asked until there is an answer: it is the same however often."""
    question = dice.choice([one for one in QUESTIONS if one.path == CHAT])
    headers = {"idempotency-key": f"soak-{dice.getrandbits(64):x}"}
    answer = asked_until(stack, "POST", CHAT, body(question), headers)
    return piece(answer, stack.known[question], question.tokens)


def asked_until(
    stack: Stack, method: str, path: str, sent: Any = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Ask again while nobody is there, or nothing was promised."""
    until = time.monotonic() + LIMIT_S
    while True:
        try:
            answer = plain_http.request(
                method, stack.url + path, json=sent, headers=headers, timeout=LIMIT_S
            )
            if answer.status_code != 503 or "SHUTTING_DOWN" not in answer.text:
                return answer
        except httpx.HTTPError:
            if time.monotonic() > until:
                raise
        threading.Event().wait(0.2)


def job(stack: Stack, dice: random.Random) -> Result:
    """Made, followed, left and taken up again, over the death of everything."""
    question = dice.choice([one for one in QUESTIONS if not one.form])
    asks = {"endpoint": question.path, "request": body(question)}
    headers = {"idempotency-key": f"soak-{dice.getrandbits(64):x}"}
    answer = asked_until(stack, "POST", "/v1/jobs", asks, headers)
    if answer.status_code != 202:
        return refused(answer)
    path = f"/v1/jobs/{answer.json()['job_id']}"
    if dice.random() < 0.1:
        threading.Event().wait(dice.uniform(0, 2))
        asked_until(stack, "DELETE", path)
    told = Told()
    wrong = followed(stack, dice, path, told)
    if wrong.note:
        return wrong
    return judged(told, stack.known[question], question.tokens)


def followed(stack: Stack, dice: random.Random, path: str, told: Told) -> Result:
    """Attach until the end, from the last event on; each event comes once, with its own id."""
    last, number, until = "", 0, time.monotonic() + LIMIT_S
    leaves_after = dice.randrange(1, 30) if dice.random() < 0.5 else 0
    while not told.over:
        if time.monotonic() > until:
            return Result(End.LOST, note=f"{path} never ended, last event {last}")
        headers = {"last-event-id": last} if last else {}
        try:
            with plain_http.stream(
                "GET", stack.url + path + "/stream", headers=headers, timeout=60
            ) as a:
                if a.status_code != 200:
                    a.read()
                    if "SHUTTING_DOWN" not in a.text:
                        return Result(End.LOST, note=f"{path} after {last}: {a.text[:200]}")
                for id_, data in events(a):
                    stops = '"SHUTTING_DOWN"' in data and '"error"' in data
                    if stops or (data == "[DONE]" and not told.finish and not told.error):
                        break
                    told.take(data, 0)
                    if id_:
                        number += 1
                        text = "".join(told.texts.values())
                        if id_ != f"{number}-{zlib.crc32(text.encode()):08x}":
                            note = f"{path}: {id_} is not event {number} after {last}"
                            return Result(End.LOST, note=note, twice=note)
                        last = id_
                    if leaves_after and number == leaves_after:
                        leaves_after = 0
                        break
        except httpx.HTTPError:
            pass
        threading.Event().wait(0.1)
    return Result(End.FINISHED)


def events(answer: httpx.Response) -> Any:
    id_ = ""
    for line in answer.iter_lines():
        if line.startswith("id: "):
            id_ = line[4:]
        elif line.startswith("data: "):
            yield id_, line[6:]
            id_ = ""


def by_keeper(stack: Stack, dice: random.Random) -> Result:
    """`rbee infer`, which lives through anything but the end of its own machine."""
    question = dice.choice([one for one in QUESTIONS if one.path == CHAT and not one.form])
    words = ["infer", "-m", "tiny", "-p", question.words, "--temperature", "0", "--seed", "1"]
    words += ["--max-tokens", str(question.tokens), "--json"]
    process = stack.home.begin(*words)
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return Result(End.LOST, note=f"rbee {words} took more than {LIMIT_S} s")
    facts = [json.loads(line) for line in (out + err).splitlines() if line.startswith("{")]
    done = next((one["done"] for one in facts if "done" in one), None)
    error = next((one["error"] for one in facts if "error" in one), None)
    if done is None and error is not None:
        return Result(End.ENDED, error["code"], str(error)[:300])
    if done is None or process.returncode:
        return Result(End.LOST, note=f"rbee infer ended with {process.returncode}: {out} {err}")
    told = Told(texts={0: done["text"]}, finish={0: done["finish_reason"]}, rbee=done["rbee"])
    told.over, told.usages = True, [{"completion_tokens": done["tokens"], "prompt_tokens": 0}]
    return judged(told, stack.known[question], question.tokens)


def embedded(stack: Stack, dice: random.Random) -> Result:
    sent = {"model": "tiny", "input": dice.choice(("a", "b c", ["d", "e f g"]))}
    answer = plain_http.post(stack.url + "/v1/embeddings", json=sent, timeout=LIMIT_S)
    if answer.status_code != 200:
        return refused(answer)
    count = len(sent["input"]) if isinstance(sent["input"], list) else 1
    if len(answer.json()["data"]) != count:
        return Result(End.LOST, note=f"{len(answer.json()['data'])} embeddings of {count}")
    return Result(End.FINISHED)


def hung_up(stack: Stack, dice: random.Random) -> Result:
    """Leaves in the middle of an answer, or before it begins."""
    question, lines = dice.choice(QUESTIONS), dice.randrange(1, 30)
    limit_s = httpx.Timeout(LIMIT_S, read=dice.uniform(0.05, 3))
    url = stack.url + question.path
    try:
        with plain_http.stream("POST", url, json=asked(question), timeout=limit_s) as answer:
            if answer.status_code != 200:
                answer.read()
                return refused(answer)
            for number, _ in enumerate(answer.iter_lines()):
                if number == lines:
                    break
    except httpx.ReadTimeout:
        return Result(End.LEFT)
    return Result(End.LEFT)


def in_no_time(stack: Stack, dice: random.Random) -> Result:
    """With a deadline that may be too short; what is told is told in time."""
    question, limit_s = QUESTIONS[3], dice.uniform(0.2, 3)
    headers = {"x-request-timeout": f"{limit_s:.2f}"}
    began = time.monotonic()
    result = judged(stack.hear(question, headers), stack.known[question], question.tokens)
    late_s = time.monotonic() - began - limit_s
    if late_s > 15:
        return Result(End.LOST, note=f"told {late_s:.1f} s after its deadline: {result}")
    return result


def rubbish(stack: Stack, dice: random.Random) -> Result:
    path = dice.choice((CHAT, "/v1/completions", "/v1/embeddings", "/v1/jobs", "/v1/nothing"))
    headers = {"content-type": "application/json"}
    url = stack.url + path
    answer = plain_http.post(url, content=dice.choice(RUBBISH), headers=headers, timeout=LIMIT_S)
    return refused(answer) if answer.status_code != 200 else Result(End.FINISHED)


def looked(stack: Stack, dice: random.Random) -> Result:
    """Dashboards and people who want to know."""
    path = dice.choice(("/rbee/ps", "/metrics", "/v1/jobs", "/v1/models", "/ready"))
    answer = plain_http.get(stack.url + path, timeout=30)
    return Result(End.FINISHED) if answer.status_code in (200, 503) else refused(answer)


KINDS: dict[Callable[[Stack, random.Random], Result], int] = {
    streamed: 6,
    in_one_piece: 3,
    job: 6,
    once: 2,
    by_keeper: 1,
    embedded: 1,
    hung_up: 2,
    in_no_time: 1,
    rubbish: 2,
    looked: 2,
}
"""How often each of them comes."""


def live(stack: Stack, dice: random.Random) -> None:
    """One client, until it is over."""
    while not stack.over.is_set():
        kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
        stack.ledger.add(kind.__name__, ended(stack, dice, kind))
        stack.over.wait(dice.uniform(0, 0.5))


def ended(stack: Stack, dice: random.Random, kind: Callable[..., Result]) -> Result:
    """What became of one request; a connection that broke is nobody's fault but with the queen."""
    began = time.monotonic()
    try:
        return kind(stack, dice)
    except httpx.HTTPError as error:
        never_met = isinstance(error, httpx.ConnectError)
        if stack.ledger.was_gone(began, killed=not never_met):
            return Result(End.CUT)
        took_s = time.monotonic() - began
        return Result(End.LOST, note=f"{error!r} after {took_s:.1f} s")
    except Exception as error:
        return Result(End.LOST, note=f"an answer that cannot be read: {error!r}")
