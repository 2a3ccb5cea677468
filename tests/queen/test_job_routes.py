"""Jobs over HTTP: made, followed, left alone, cancelled, forgotten."""

import asyncio
import zlib
from dataclasses import replace

import httpx
import pytest

from rbee.policy.keys import OWNER as ADMIN
from rbee.settings import Bounds, Limits
from tests.queen.job_stage import (
    ASK,
    BEGIN,
    FAST,
    REST,
    followed,
    gated,
    made,
    shown,
    text_of,
    until,
    until_status,
    with_engine,
)
from tests.queen.stage import WHOLE, say


def test_a_job_is_made_and_its_answer_fetched(tmp_path):
    """202 with an id at once; later the whole answer, with its usage and its seed fixed."""

    async def body(here, engine):
        job = (await made(here))["job_id"]
        found = await until_status(here, job, "done")

        assert found["result"]["choices"][0]["message"]["content"] == "Hello"
        assert found["result"]["usage"]["completion_tokens"] == 2
        assert found["result"]["rbee"]["job_id"] == job
        assert found["error"] is None and found["partial"] is None and found["ended_at"]
        assert isinstance(engine.asked[0]["seed"], int)
        listed = (await here.client.get("/v1/jobs")).json()["data"]
        assert [(one["job_id"], one["status"]) for one in listed] == [(job, "done")]

    with_engine(tmp_path, body, say(WHOLE))


def test_ids_name_an_event_and_the_text_so_far(tmp_path):
    """`N-crc32`; from each of them on the rest comes, and nothing twice."""

    async def body(here, engine):
        job = (await made(here))["job_id"]
        await until_status(here, job, "done")
        ids, chunks = await followed(here, job)

        assert text_of(chunks) == "Hello"
        assert ids[2] == f"3-{zlib.crc32(b'Hello'):08x}"
        for number, id_ in enumerate(ids, 1):
            more_ids, more = await followed(here, job, id_)
            assert (more_ids, more) == (ids[number:], chunks[number:])

    with_engine(tmp_path, body, say(WHOLE))


def test_several_may_follow_and_none_holds_up_another(tmp_path):
    """Attached before, in the middle, and after: everybody gets every event once."""
    play_gate = {}

    async def body(here, engine):
        job = (await made(here))["job_id"]
        first = asyncio.create_task(followed(here, job))
        await until(lambda: here.core.jobs.find(job, ADMIN).kept_count == 2)
        found = await shown(here, job)
        assert found["status"] == "running"
        assert found["partial"]["choices"][0]["message"]["content"] == "Hel"
        second = asyncio.create_task(followed(here, job, found["last_event_id"]))
        await until(lambda: len(here.core.jobs.find(job, ADMIN).followers) == 2)
        play_gate["play"].gate.release()

        whole, rest = await first, await second
        assert text_of(whole[1]) == "Hello" and text_of(rest[1]) == "lo"
        assert await followed(here, job) == whole

    play_gate["play"] = play = gated(BEGIN, REST)
    with_engine(tmp_path, body, play)


@pytest.mark.parametrize(
    ("last", "status", "code"),
    [
        ("3-00000000", 409, "ATTACH_DIVERGED"),
        ("99-00000000", 409, "ATTACH_DIVERGED"),
        ("0-00000001", 409, "ATTACH_DIVERGED"),
        ("three", 400, "INVALID_REQUEST"),
        ("-1-0000000g", 400, "INVALID_REQUEST"),
    ],
)
def test_another_text_is_not_continued(tmp_path, last, status, code):
    """Who holds something else is told so, and gets no part that does not fit."""

    async def body(here, engine):
        job = (await made(here))["job_id"]
        await until_status(here, job, "done")
        answer = await here.client.get(f"/v1/jobs/{job}/stream", headers={"last-event-id": last})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)

    with_engine(tmp_path, body, say(WHOLE))


def test_a_job_goes_on_when_nobody_follows(tmp_path):
    """`continue` is the default: the answer is there afterwards."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        job = (await made(here))["job_id"]
        with pytest.raises(httpx.ReadTimeout):
            await here.client.get(f"/v1/jobs/{job}/stream", timeout=0.2)
        await until(lambda: not here.core.jobs.find(job, ADMIN).followers)
        play.gate.release()

        assert (await until_status(here, job, "done"))["result"]

    with_engine(tmp_path, body, play)


def test_a_job_may_end_with_its_client(tmp_path):
    """`cancel`: alone for `reattach_s` it is cancelled, and the engine is told."""

    async def body(here, engine):
        job = (await made(here, on_disconnect="cancel"))["job_id"]
        with pytest.raises(httpx.ReadTimeout):
            await here.client.get(f"/v1/jobs/{job}/stream", timeout=0.3)

        found = await until_status(here, job, "cancelled")
        assert found["partial"]["choices"][0]["message"]["content"] == "Hel"
        assert found["error"]["code"] == "CANCELLED"
        await asyncio.wait_for(engine.hung_up.wait(), 2)

    with_engine(tmp_path, body, gated(BEGIN, REST))


def test_a_job_that_ends_with_its_client_waits_for_it_to_come_back(tmp_path):
    """Attached again in time, it goes on."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        job = (await made(here, on_disconnect="cancel"))["job_id"]
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                await here.client.get(f"/v1/jobs/{job}/stream", timeout=0.2)
        follower = asyncio.create_task(followed(here, job))
        await until(lambda: here.core.jobs.find(job, ADMIN).followers)
        play.gate.release()

        assert text_of((await follower)[1]) == "Hello"

    with_engine(tmp_path, body, play, timing=replace(FAST, reattach_s=5))


def test_cancel_is_idempotent_and_reaches_the_engine(tmp_path):
    """204 however often, also at the end; who follows is told."""

    async def body(here, engine):
        job = (await made(here))["job_id"]
        follower = asyncio.create_task(followed(here, job))
        await until(lambda: here.core.jobs.find(job, ADMIN).kept_count == 2)
        for _ in range(2):
            answer = await here.client.delete(f"/v1/jobs/{job}")
            assert (answer.status_code, answer.content) == (204, b"")

        _, chunks = await follower
        assert chunks[-1]["error"]["code"] == "CANCELLED" and text_of(chunks) == "Hel"
        await asyncio.wait_for(engine.hung_up.wait(), 2)
        assert (await shown(here, job))["status"] == "cancelled"
        assert here.core.roster.busy["w1"] == 0

    with_engine(tmp_path, body, gated(BEGIN, REST))


@pytest.mark.parametrize("job", ["job_" + "0" * 32, "x", "job_../../etc", "job_" + "0" * 500])
def test_an_unknown_job_is_not_found(tmp_path, job):
    """Whatever stands in the address."""

    async def body(here, engine):
        for method, tail in (("GET", ""), ("GET", "/stream"), ("DELETE", "")):
            answer = await here.client.request(method, f"/v1/jobs/{job}{tail}")
            assert answer.status_code == 404, answer.text
            assert answer.json()["error"]["code"] in ("JOB_NOT_FOUND", "ROUTE_NOT_FOUND")

    with_engine(tmp_path, body, say(WHOLE))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ([], 400, "INVALID_REQUEST"),
        ({}, 400, "INVALID_REQUEST"),
        ({"request": []}, 400, "INVALID_REQUEST"),
        ({"request": ASK, "endpoint": "/v1/embeddings"}, 400, "INVALID_REQUEST"),
        ({"request": ASK, "on_disconnect": "perhaps"}, 400, "INVALID_REQUEST"),
        ({"request": ASK, "surprise": 1}, 400, "INVALID_REQUEST"),
        ({"request": {**ASK, "seed": "x"}}, 400, "INVALID_REQUEST"),
        ({"request": {**ASK, "model": "tinny"}}, 404, "MODEL_NOT_FOUND"),
    ],
)
def test_bad_jobs_are_refused_before_anything_runs(tmp_path, body, status, code):
    """With a code and a status of their own; nothing is kept."""

    async def check(here, engine):
        answer = await here.client.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert not engine.asked and not here.core.jobs.listed(ADMIN)

    with_engine(tmp_path, check, say(WHOLE))


def test_a_job_that_fails_keeps_its_part(tmp_path):
    """The error, the attempts, and what came of the answer; who attaches is told the same."""

    async def body(here, engine):
        job = (await made(here))["job_id"]
        found = await until_status(here, job, "failed")
        assert found["error"]["code"] == "ATTEMPTS_EXHAUSTED"
        assert found["partial"]["choices"][0]["message"]["content"] == "Hel"
        _, chunks = await followed(here, job)
        assert chunks[-1]["error"]["code"] == "ATTEMPTS_EXHAUSTED" and text_of(chunks) == "Hel"

    with_engine(tmp_path, body, say(BEGIN, then_close=True))


def test_a_job_is_forgotten_after_its_time(tmp_path):
    """Its bytes are gone from the journal too."""

    async def body(here, engine):
        job = (await made(here))["job_id"]
        await until(lambda: not here.core.jobs.listed(ADMIN))
        assert (await here.client.get(f"/v1/jobs/{job}")).status_code == 404

    with_engine(tmp_path, body, say(WHOLE), timing=replace(FAST, job_kept_s=0.2))
    files = b"".join(one.read_bytes() for one in tmp_path.glob("jobs.sqlite*"))
    assert b"Hel" not in files and b"messages" not in files


@pytest.mark.parametrize("bounds", [Bounds(jobs=1), Bounds(jobs_bytes=500)])
def test_there_are_not_more_jobs_than_allowed(tmp_path, bounds):
    """The oldest that has ended makes room; if none has, JOBS_FULL, and plain requests go on."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        first = (await made(here))["job_id"]
        await until(lambda: here.core.jobs.find(first, ADMIN).kept_count == 2)
        answer = await here.client.post("/v1/jobs", json={"request": ASK})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "JOBS_FULL")
        assert answer.headers["retry-after"]
        play.gate.release()
        await until_status(here, first, "done")
        second = (await made(here))["job_id"]
        listed = here.core.jobs.listed(ADMIN)
        assert [one.id for one in listed] == [second]

    with_engine(tmp_path, body, play, bounds=bounds)


def test_what_is_refused_at_the_door_is_no_job(tmp_path):
    """A full queue, a priority that is none: the true status at once."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        headers = {"x-rbee-priority": "highest"}
        answer = await here.client.post("/v1/jobs", json={"request": ASK}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")
        running = [(await made(here))["job_id"] for _ in range(2)]
        answer = await here.client.post("/v1/jobs", json={"request": ASK})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "QUEUE_FULL")
        assert answer.headers["retry-after"]
        for job in running:
            assert (await shown(here, job))["status"] == "running"

    with_engine(tmp_path, body, play, limits=Limits(queue=0))
