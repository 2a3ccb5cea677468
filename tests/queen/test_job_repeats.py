"""Requests that are sent twice and run once: Idempotency-Key, and SDKs that ask again."""

import asyncio
import json
import time
from dataclasses import replace

import httpx
import pytest

from rbee.policy.keys import OWNER as ADMIN
from rbee.wire.keys import KeyAsk
from tests.queen.job_stage import (
    ASK,
    BEGIN,
    FAST,
    REST,
    gated,
    until,
    until_status,
    with_engine,
)
from tests.queen.stage import WHOLE, events_of, say
from tests.queen.test_passing import says

CHAT = "/v1/chat/completions"


async def asked(here, key="k", path=CHAT, **fields):
    headers = {"idempotency-key": key}
    return await here.client.post(path, json={**ASK, **fields}, headers=headers)


def content(answer):
    return answer.json()["choices"][0]["message"]["content"]


def test_the_same_key_is_answered_from_the_journal(tmp_path):
    """Twice the same answer, with the id of the same job; the engine is asked once."""

    async def body(here, engine):
        first, second = await asked(here), await asked(here)

        assert content(first) == content(second) == "Hello"
        assert first.headers["x-request-id"] == second.headers["x-request-id"]
        assert len(engine.asked) == 1
        assert first.json()["usage"]["completion_tokens"] == 2

    with_engine(tmp_path, body, say(WHOLE))


def test_the_same_key_attaches_to_what_runs(tmp_path):
    """A retry in the middle gets the whole stream from its start."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        first = asyncio.create_task(asked(here, stream=True))
        await until(lambda: [job for job in here.core.jobs.listed(ADMIN) if job.kept_count == 2])
        second = asyncio.create_task(asked(here, stream=True))
        (job,) = here.core.jobs.listed(ADMIN)
        await until(lambda: len(job.followers) == 2)
        play.gate.release()

        assert (await first).text == (await second).text
        blocks = events_of((await first).text)
        assert blocks[-1] == "data: [DONE]" and not any("id:" in one for one in blocks)
        assert not any('"usage"' in one for one in blocks)
        assert json.loads(blocks[-2][6:])["choices"][0]["finish_reason"] == "stop"
        assert len(engine.asked) == 1

    with_engine(tmp_path, body, play)


def test_usage_goes_to_who_asks_for_it(tmp_path):
    """The job has it; a client gets it with `include_usage` only."""

    async def body(here, engine):
        answer = await asked(here, stream=True, stream_options={"include_usage": True})
        assert '"usage"' in answer.text

    with_engine(tmp_path, body, say(WHOLE))


def test_a_hang_up_does_not_end_it(tmp_path):
    """That is what the key is for: the next try finds the answer."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        with pytest.raises(httpx.ReadTimeout):
            headers = {"idempotency-key": "k"}
            await here.client.post(CHAT, json=ASK, headers=headers, timeout=0.2)
        (job,) = here.core.jobs.listed(ADMIN)
        await until(lambda: not job.followers)
        play.gate.release()

        assert content(await asked(here)) == "Hello" and len(engine.asked) == 1

    with_engine(tmp_path, body, play)


def test_a_job_keeps_the_id_that_its_client_gave_it(tmp_path):
    """Each try has its own; the job is one."""

    async def body(here, engine):
        answers = [
            await here.client.post(
                CHAT, json=ASK, headers={"idempotency-key": "k", "x-request-id": name}
            )
            for name in ("first", "second")
        ]
        assert [one.headers["x-request-id"] for one in answers] == ["first", "second"]
        jobs = {one.headers["x-rbee-job"] for one in answers}
        assert jobs == {job.id for job in here.core.jobs.listed(ADMIN)}

    with_engine(tmp_path, body, say(WHOLE))


@pytest.mark.parametrize(
    "path", ["/v1/responses", "/v1/messages", "/v1/embeddings", "/completion", "/tokenize"]
)
def test_a_key_that_is_not_held_to_is_refused(tmp_path, path):
    """No client may believe that its request runs once where it would not; nothing runs."""

    async def body(here, engine):
        answer = await asked(here, path=path)
        error = answer.json()["error"]
        assert (answer.status_code, engine.asked) == (400, [])
        assert "Idempotency-Key" in error["message"]

    with_engine(tmp_path, body, say(WHOLE))


def test_another_body_under_the_same_key_is_a_conflict(tmp_path):
    """409, on the route of jobs too; nothing runs."""

    async def body(here, engine):
        await asked(here)
        for answer in (
            await asked(here, temperature=1),
            await asked(here, path="/v1/completions"),
            await here.client.post(
                "/v1/jobs", json={"request": ASK}, headers={"idempotency-key": "k"}
            ),
        ):
            assert answer.status_code == 409, answer.text
            assert answer.json()["error"]["code"] == "IDEMPOTENCY_CONFLICT"
        assert len(engine.asked) == 1

    with_engine(tmp_path, body, say(WHOLE))


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel"])
def test_a_key_must_be_one(tmp_path, key):
    """Refused by name; nothing runs."""

    async def body(here, engine):
        headers = {"idempotency-key": key.encode("latin-1")}
        answer = await here.client.post(CHAT, json=ASK, headers=headers)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == "Idempotency-Key" and not engine.asked

    with_engine(tmp_path, body, say(WHOLE))


def test_what_came_to_nothing_is_run_again(tmp_path):
    """A key does not make a failure last."""

    async def body(here, engine):
        engine.play = say(BEGIN, then_close=True)
        failed = await asked(here)
        assert failed.status_code == 502
        assert failed.json()["error"]["details"]["partial"] == "Hel"
        engine.play = say(WHOLE)
        assert content(await asked(here)) == "Hello"

    with_engine(tmp_path, body, say(WHOLE))


def test_a_refusal_keeps_its_status(tmp_path):
    """What fails before its first event is no stream with an error inside."""

    async def body(here, engine):
        answer = await asked(here, stream=True)
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "ENGINE_REFUSED"

    refusal = b'{"error":{"code":400,"message":"no","type":"invalid_request_error"}}'
    head = b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(refusal)
    with_engine(tmp_path, body, say(head + refusal))


def test_a_job_may_have_a_key_too(tmp_path):
    """Made twice, it is one job."""

    async def body(here, engine):
        headers = {"idempotency-key": "j"}
        ids = set()
        for _ in range(2):
            answer = await here.client.post("/v1/jobs", json={"request": ASK}, headers=headers)
            ids.add(answer.json()["job_id"])
        (job,) = ids
        await until_status(here, job, "done")
        assert len(engine.asked) == 1

    with_engine(tmp_path, body, say(WHOLE))


def sdk(count, timeout="600"):
    return {"x-stainless-retry-count": count, "x-stainless-read-timeout": timeout}


def test_an_sdk_that_timed_out_finds_its_answer(tmp_path):
    """It hung up at its own read timeout: the work goes on, and its next try attaches."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        with pytest.raises(httpx.ReadTimeout):
            await here.client.post(CHAT, json=ASK, headers=sdk("0", "0.3"), timeout=0.35)
        (job,) = here.core.jobs.repeatable()
        await until(lambda: not job.followers)
        again = asyncio.create_task(here.client.post(CHAT, json=ASK, headers=sdk("1", "0.3")))
        await until(lambda: job.followers)
        play.gate.release()

        assert content(await again) == "Hello" and len(engine.asked) == 1
        await until(lambda: not here.core.jobs.repeatable())

    with_engine(tmp_path, body, play)


def test_an_sdk_whose_user_hung_up_ends_the_work(tmp_path):
    """Long before its timeout nobody will ask again."""

    async def body(here, engine):
        with pytest.raises(httpx.ReadTimeout):
            await here.client.post(CHAT, json=ASK, headers=sdk("0"), timeout=0.3)
        await asyncio.wait_for(engine.hung_up.wait(), 2)
        await until(lambda: not here.core.jobs.repeatable())

    with_engine(tmp_path, body, gated(BEGIN, REST))


def test_an_answer_waits_for_the_next_try(tmp_path):
    """It was ready while nobody was there; then it is forgotten."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        with pytest.raises(httpx.ReadTimeout):
            await here.client.post(CHAT, json=ASK, headers=sdk("0", "0.3"), timeout=0.35)
        (job,) = here.core.jobs.repeatable()
        await until(lambda: not job.followers)
        play.gate.release()
        await until(lambda: job.over)
        answer = await here.client.post(CHAT, json=ASK, headers=sdk("1", "0.3"))

        assert content(answer) == "Hello" and len(engine.asked) == 1
        await until(lambda: not here.core.jobs.repeatable())

    with_engine(tmp_path, body, play, timing=replace(FAST, retry_attach_s=0.5))


def test_a_first_try_never_attaches(tmp_path):
    """Two equal questions are two questions, unless the SDK says that it asks again."""

    async def body(here, engine):
        answers = await asyncio.gather(
            here.client.post(CHAT, json=ASK, headers=sdk("0")),
            here.client.post(CHAT, json=ASK, headers=sdk("0")),
        )
        assert [content(one) for one in answers] == ["Hello", "Hello"] and len(engine.asked) == 2
        await until(lambda: not here.core.jobs.repeatable())

    with_engine(tmp_path, body, say(WHOLE))


def test_a_failure_of_an_sdks_request_is_told_as_ever(tmp_path):
    """Status, code and attempts of the plain route."""

    async def body(here, engine):
        answer = await here.client.post(CHAT, json={"model": "tinny"}, headers=sdk("0"))
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "MODEL_NOT_FOUND"
        engine.play = say(then_close=True)
        answer = await here.client.post(CHAT, json=ASK, headers=sdk("0"))
        assert answer.status_code == 502 and len(answer.json()["error"]["attempts"]) == 3
        assert answer.headers["x-should-retry"] == "false"

    with_engine(tmp_path, body, say(WHOLE))


def key(here, **asked):
    made_key = here.core.keys.create(KeyAsk(**asked), time.time()).key
    return {"authorization": f"Bearer {made_key}"}


def test_a_job_of_another_key_is_not_seen(tmp_path):
    """Not listed, not found, not attached to; an Idempotency-Key is each key's own."""

    async def body(here, engine):
        mine, other, admin = key(here), key(here), key(here, roles=("admin",))
        answer = await here.client.post(
            "/v1/jobs", json={"request": ASK}, headers={**mine, "idempotency-key": "k"}
        )
        path = f"/v1/jobs/{answer.json()['job_id']}"
        for headers, status in ((mine, 200), (other, 404), (admin, 200)):
            for tail in ("", "/stream"):
                assert (await here.client.get(path + tail, headers=headers)).status_code == status
            listed = (await here.client.get("/v1/jobs", headers=headers)).json()["data"]
            assert len(listed) == (status == 200)
        assert (await here.client.delete(path, headers=other)).status_code == 404
        answer = await here.client.post(CHAT, json=ASK, headers={**other, "idempotency-key": "k"})
        assert content(answer) == "Hello" and len(engine.asked) == 2
        assert (await here.client.get("/v1/jobs")).status_code == 401

    with_engine(tmp_path, body, say(WHOLE))


def test_a_job_takes_its_place_in_the_limits_of_its_key(tmp_path):
    """From its making to its end, whoever follows it; attaching costs nothing."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        mine = {**key(here, concurrent=1), "idempotency-key": "k"}
        answer = await here.client.post("/v1/jobs", json={"request": ASK}, headers=mine)
        job = answer.json()["job_id"]
        again = await here.client.post("/v1/jobs", json={"request": ASK}, headers=mine)
        assert again.json()["job_id"] == job
        del mine["idempotency-key"]
        refused = await here.client.post("/v1/jobs", json={"request": ASK}, headers=mine)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
        assert len(here.core.jobs.listed(ADMIN)) == 1
        play.gate.release()
        await until(lambda: here.core.jobs.find(job, ADMIN).over)
        answer = await here.client.post("/v1/jobs", json={"request": ASK}, headers=mine)
        assert answer.status_code == 202

    with_engine(tmp_path, body, play)


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
def test_an_sdk_gets_what_anybody_gets(tmp_path, path):
    """Headers and body of the plain route, a refusal in the words of its dialect too."""

    async def body(here, engine):
        for ask in ({"model": "tiny", "prompt": "hi"}, {"model": "tinny"}):
            plain = await here.client.post(path, json=ask)
            answer = await here.client.post(path, json=ask, headers=sdk("0"))
            assert (answer.status_code, set(answer.headers)) == (
                plain.status_code,
                set(plain.headers),
            )
            mine, other = answer.headers["x-request-id"], plain.headers["x-request-id"]
            assert answer.text.replace(mine, other) == plain.text and mine != other

    with_engine(tmp_path, body, says(path))
