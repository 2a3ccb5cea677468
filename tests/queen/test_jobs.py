"""Jobs and the journal: what a killed queen leaves, the next one finishes; a disk that refuses."""

import asyncio
import shutil
import sqlite3
import time
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from rbee.policy.keys import OWNER as ADMIN
from rbee.queen.route_table import ROUTES
from rbee.settings import Limits
from rbee.wire.jobs import Record
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
from tests.queen.stage import (
    DONE,
    END,
    HEAD,
    USAGE,
    WHOLE,
    Engine,
    chunk,
    event,
    progress,
    say,
    stage,
)


def image(tmp_path: Path, name: str) -> Path:
    """What a queen that is killed now would leave on the disk."""
    left = tmp_path / name
    left.mkdir()
    for one in tmp_path.glob("jobs.sqlite*"):
        shutil.copy(one, left / one.name)
    return left


def test_a_killed_queen_loses_no_job(tmp_path):
    """What it had asked is asked again with the same seed; who attaches has every token once."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        job = (await made(here))["job_id"]
        await until(lambda: here.core.jobs.find(job, ADMIN).kept_count == 2)
        id_ = here.core.jobs.find(job, ADMIN).last_event_id
        left = image(tmp_path, "left")

        async with AsyncExitStack() as stack:
            other = await stack.enter_async_context(Engine(say(WHOLE)).running())
            again = await stack.enter_async_context(stage(left, timing=FAST))
            again.worker(other)
            ids, chunks = await followed(again, job)
            assert text_of(chunks) == "Hello" and len(set(ids)) == len(ids)
            more_ids, more = await followed(again, job, id_)
            assert text_of(more) == "lo" and more_ids == ids[2:]
            assert other.asked[0]["seed"] == engine.asked[0]["seed"]
            found = await until_status(again, job, "done")
            assert found["result"]["choices"][0]["message"]["content"] == "Hello"

    with_engine(tmp_path, body, play)


def test_a_finished_job_survives_a_restart(tmp_path):
    """Its answer is there, and an Idempotency-Key finds it; nothing is asked again."""

    async def body(here, engine):
        headers = {"idempotency-key": "k"}
        first = await here.client.post("/v1/chat/completions", json=ASK, headers=headers)
        job = first.headers["x-request-id"]
        await until_status(here, job, "done")
        async with stage(image(tmp_path, "left"), timing=FAST) as again:
            second = await again.client.post("/v1/chat/completions", json=ASK, headers=headers)
            assert second.json() == first.json()
            assert (await shown(again, job))["status"] == "done"

    with_engine(tmp_path, body, say(WHOLE))


def test_a_deadline_is_not_extended_by_a_restart(tmp_path):
    """What is over is over."""

    async def body(here, engine):
        job = (await made(here, request={**ASK, "timeout_s": 0.3}))["job_id"]
        await until(lambda: here.core.jobs.find(job, ADMIN).kept_count == 2)
        left = image(tmp_path, "left")
        await until_status(here, job, "failed")
        async with stage(left, timing=FAST) as again:
            found = await until_status(again, job, "failed")
            assert found["error"]["code"] == "DEADLINE_EXCEEDED"
            assert found["partial"]["choices"][0]["message"]["content"] == "Hel"

    with_engine(tmp_path, body, gated(BEGIN, REST))


def test_a_stop_leaves_the_job_to_the_next_queen(tmp_path):
    """An orderly end tells who is attached, and the job goes on later."""
    found = {}

    async def body(here, engine):
        found["job"] = (await made(here))["job_id"]
        follower = asyncio.create_task(followed(here, found["job"]))
        await until(lambda: here.core.jobs.find(found["job"], ADMIN).kept_count == 2)
        here.core.jobs.stop()
        _, chunks = await follower
        assert chunks[-1]["error"]["code"] == "SHUTTING_DOWN"

    async def later(here, engine):
        assert (await until_status(here, found["job"], "done"))["result"]

    with_engine(tmp_path, body, gated(BEGIN, REST))
    with_engine(tmp_path, later, say(WHOLE))


@pytest.mark.parametrize("damage", ["noise", "cut"])
def test_a_damaged_journal_is_told_and_begun_anew(tmp_path, damage):
    """The queen starts, says what is lost, and takes new jobs."""
    path = tmp_path / "jobs.sqlite"

    async def body(here, engine):
        await until_status(here, (await made(here))["job_id"], "done")

    async def after(here, engine):
        (told,) = here.core.events.recent(code="JOURNAL_DAMAGED")
        assert told.outcome == "lost" and not here.core.jobs.listed(ADMIN)
        assert (await until_status(here, (await made(here))["job_id"], "done"))["result"]

    with_engine(tmp_path, body, say(WHOLE))
    size = path.stat().st_size
    with path.open("r+b") as file:
        if damage == "noise":
            file.write(bytes(range(256)) * (size // 256))
        else:
            file.truncate(size // 2)
    with_engine(tmp_path, after, say(WHOLE))


def test_a_record_that_cannot_be_read_is_passed_over(tmp_path):
    """A row of another rbee costs itself only."""
    found = {}

    async def body(here, engine):
        found["job"] = (await made(here))["job_id"]
        await until_status(here, found["job"], "done")

    async def after(here, engine):
        assert [job.id for job in here.core.jobs.listed(ADMIN)] == [found["job"]]

    with_engine(tmp_path, body, say(WHOLE))
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as database, database:
        database.execute("INSERT INTO jobs VALUES (0, ?, NULL)", (b"{}",))
    with_engine(tmp_path, after, say(WHOLE))


def test_a_disk_that_refuses_costs_jobs_only(tmp_path):
    """A new job gets the disk's code; plain requests go on; with the disk, jobs come back."""

    async def body(here, engine):
        (tmp_path / "jobs.sqlite").mkdir()
        for answer in (
            await here.client.post("/v1/jobs", json={"request": ASK}),
            await here.client.post(
                "/v1/chat/completions", json=ASK, headers={"idempotency-key": "k"}
            ),
        ):
            assert answer.status_code == 507, answer.text
            assert answer.json()["error"]["code"] == "DISK_IO"
            assert str(tmp_path) not in answer.text
        assert not here.core.jobs.listed(ADMIN)
        assert (await here.chat()).status_code == 200
        (tmp_path / "jobs.sqlite").rmdir()
        assert (await until_status(here, (await made(here))["job_id"], "done"))["result"]

    async def without(run):
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(Engine(say(WHOLE)).running())
            (tmp_path / "jobs.sqlite").mkdir()
            here = await stack.enter_async_context(stage(tmp_path, timing=FAST))
            (tmp_path / "jobs.sqlite").rmdir()
            here.worker(engine)
            await run(here, engine)

    asyncio.run(without(body))


def test_a_job_nobody_came_back_for_ends_after_a_restart(tmp_path):
    """`cancel` means with its client, also when the queen that it was attached to is gone."""

    async def body(here, engine):
        job = (await made(here, on_disconnect="cancel"))["job_id"]
        await until(lambda: here.core.jobs.find(job, ADMIN).kept_count == 2)
        left = image(tmp_path, "left")
        async with stage(left, timing=FAST) as again:
            assert (await until_status(again, job, "cancelled"))["partial"]

    with_engine(tmp_path, body, gated(BEGIN, REST))


def test_old_ends_are_not_kept_longer_by_a_restart(tmp_path):
    """Five minutes after its end a job is gone, whoever was alive in them."""

    async def body(here, engine):
        job = (await made(here))["job_id"]
        await until_status(here, job, "done")
        ended_at = here.core.jobs.find(job, ADMIN).outcome.ended_at
        await until(lambda: time.time() > ended_at + 0.2)
        timing = replace(FAST, job_kept_s=0.2)
        async with stage(image(tmp_path, "left"), timing=timing) as again:
            await until(lambda: not again.core.jobs.listed(ADMIN))

    with_engine(tmp_path, body, say(WHOLE))


def test_a_record_says_nothing_of_the_callers_secrets(tmp_path):
    """No Authorization header, no key but its id, stands in the journal."""

    async def body(here, engine):
        headers = {"authorization": "Bearer rb_secret_words", "x-api-key": "other_secret"}
        answer = await here.client.post("/v1/jobs", json={"request": ASK}, headers=headers)
        record = here.core.jobs.find(answer.json()["job_id"], ADMIN).record
        assert b"secret" not in msgspec.json.encode(record)
        assert isinstance(record, Record)

    with_engine(tmp_path, body, say(WHOLE))


def test_jobs_of_before_come_back_with_the_disk(tmp_path):
    """A journal that could not be opened at the start is opened with the next job."""
    path, away = tmp_path / "jobs.sqlite", tmp_path / "away"
    found = {}

    async def body(here, engine):
        found["job"] = (await made(here))["job_id"]
        await until_status(here, found["job"], "done")

    async def without():
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(Engine(say(WHOLE)).running())
            here = await stack.enter_async_context(stage(tmp_path, timing=FAST))
            here.worker(engine)
            assert (await here.client.get(f"/v1/jobs/{found['job']}")).status_code == 404
            path.rmdir()
            away.rename(path)
            later = [await made(here), await made(here)]
            assert (await shown(here, found["job"]))["result"]
            for one in later:
                assert (await until_status(here, one["job_id"], "done"))["result"]

    with_engine(tmp_path, body, say(WHOLE))
    path.rename(away)
    path.mkdir()
    asyncio.run(without())


def test_nobody_is_told_that_a_job_is_gone_before_the_journal_is_read(tmp_path):
    """The port answers before it is: who attaches in that moment waits."""

    async def body(here, engine):
        job = (await made(here))["job_id"]
        await until_status(here, job, "done")
        left = image(tmp_path, "left")
        async with stage(left, timing=FAST, met=False) as again:
            asked = asyncio.create_task(shown(again, job))
            await until(lambda: again.router.running)
            for _ in range(3):
                assert (await again.client.get("/health")).status_code == 200
            assert not asked.done()
            again.core.met.set()
            found = await asked
            assert found["status"] == "done" and found["result"]

    with_engine(tmp_path, body, say(WHOLE))


def test_an_accepted_job_is_not_turned_away_by_a_restart(tmp_path):
    """It waits until there is a place in line, whoever has come before it."""
    play = gated(BEGIN, REST)

    async def body(here, engine):
        job = (await made(here))["job_id"]
        await until(lambda: here.core.jobs.find(job, ADMIN).kept_count == 2)
        left = image(tmp_path, "left")
        async with AsyncExitStack() as stack:
            busy = gated(BEGIN, REST)
            other = await stack.enter_async_context(Engine(busy).running())
            at_once = replace(ROUTES["/v1/chat/completions"], settled=False)
            routes = {**ROUTES, "/v1/chat/completions": at_once}
            again = await stack.enter_async_context(
                stage(left, timing=FAST, limits=Limits(queue=0), routes=routes, met=False)
            )
            again.worker(other, slots=1)
            first = asyncio.create_task(again.chat(stream=True))
            await until(lambda: other.asked)
            again.core.met.set()
            await until(lambda: again.core.counters.requests["tiny", "QUEUE_FULL"])
            assert (await shown(again, job))["status"] == "queued"
            other.play = say(WHOLE)
            busy.gate.release()
            assert '"stop"' in (await first).text
            assert (await until_status(again, job, "done"))["result"]

    with_engine(tmp_path, body, play)


def test_a_job_of_a_client_ends_with_rbee(tmp_path):
    """`cancel`: its client is told that rbee stops, and no later rbee works for nobody."""
    found = {}

    async def body(here, engine):
        found["job"] = (await made(here, on_disconnect="cancel"))["job_id"]
        follower = asyncio.create_task(followed(here, found["job"]))
        await until(lambda: here.core.jobs.find(found["job"], ADMIN).kept_count == 2)
        here.core.jobs.stop()
        _, chunks = await follower
        assert chunks[-1]["error"]["code"] == "SHUTTING_DOWN"

    async def later(here, engine):
        assert (await shown(here, found["job"]))["status"] == "failed" and not engine.asked

    with_engine(tmp_path, body, gated(BEGIN, REST))
    with_engine(tmp_path, later, say(WHOLE))


def test_a_repair_is_remembered_over_a_restart(tmp_path):
    """A worker was lost, then the queen: attempts and splices of both lives are told at the end."""
    play = gated(BEGIN, chunk(event(content="lo")), REST)

    async def dies_first(engine, reader, writer, body):
        if len(engine.asked) == 1:
            await say(BEGIN, then_close=True)(engine, reader, writer, body)
        else:
            await play(engine, reader, writer, body)

    async def body(here, engine):
        job = (await made(here))["job_id"]
        await until(lambda: len(engine.asked) == 2)
        play.gate.release()
        await until(lambda: here.core.jobs.find(job, ADMIN).kept_count == 3)
        left = image(tmp_path, "left")

        async with AsyncExitStack() as stack:
            whole = HEAD + chunk(progress(0, 3)) + chunk(event(role="assistant", content=None))
            whole += chunk(event(content="Hello")) + chunk(event(content="lo"))
            whole += chunk(event("stop")) + chunk(USAGE) + chunk(DONE) + END
            other = await stack.enter_async_context(Engine(say(whole)).running())
            again = await stack.enter_async_context(stage(left, timing=FAST))
            again.worker(other)
            found = await until_status(again, job, "done")
            assert found["result"]["choices"][0]["message"]["content"] == "Hellolo"
            assert [one["mode"] for one in found["splices"]] == ["replay", "replay"]
            assert found["attempts"][0]["worker"] == "w1"
            assert found["result"]["rbee"]["splices"] == found["splices"]
            _, chunks = await followed(again, job)
            assert text_of(chunks) == "Hellolo"

    with_engine(tmp_path, body, dies_first)
