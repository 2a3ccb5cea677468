"""What every answer says of itself."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.eventually import soon
from tests.queen.stage import WHOLE, Engine, say, stage


def with_engines(tmp_path, body, *plays):
    """Run `body(stage)` with a worker for each play."""

    async def run():
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(stage(tmp_path))
            for number, play in enumerate(plays, 1):
                here.worker(await stack.enter_async_context(Engine(play).running()), f"w{number}")
            await body(here)

    asyncio.run(run())


def test_a_request_keeps_the_id_that_its_client_gave_it(tmp_path):
    """In its answer and in what is told of it; the job's own id stands beside it."""

    async def body(here):
        ask = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"x-request-id": "trace-7"}
        answer = await here.client.post("/v1/chat/completions", json=ask, headers=headers)

        assert answer.headers["x-request-id"] == "trace-7"
        assert answer.json()["error"]["job_id"] == answer.headers["x-rbee-job"]
        told = await soon(lambda: here.core.events.recent(job="trace-7"))
        assert {one.job for one in told} == {answer.headers["x-rbee-job"]}
        assert here.core.events.recent(job="trace-8") == []

    with_engines(tmp_path, body, say(then_close=True))


@pytest.mark.parametrize("theirs", ["two words", "x" * 129, "job_" + "0" * 32])
def test_an_id_that_is_not_plain_is_replaced(tmp_path, theirs):
    """What could be misread in a log is not written into one."""

    async def body(here):
        answer = await here.client.get("/v1/models", headers={"x-request-id": theirs})
        given = answer.headers["x-request-id"]
        assert given.startswith("job_") and given != theirs
        assert "x-rbee-job" not in answer.headers

    with_engines(tmp_path, body, say(WHOLE))
