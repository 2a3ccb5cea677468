"""What becomes of requests while the queen ends."""

import asyncio
import json

from tests.queen.stage import HEAD, Engine, chunk, event, events_of, hold, stage


def test_a_stream_that_outlives_the_drain_is_told(tmp_path):
    """It ends with SHUTTING_DOWN and [DONE], and the engine stops working for it."""

    async def run():
        async with Engine(hold(HEAD, chunk(event(content="a")))).running() as engine:
            async with stage(tmp_path) as here:
                here.worker(engine)
                body = {"model": "tiny", "messages": [], "stream": True}
                async with here.client.stream("POST", "/v1/chat/completions", json=body) as answer:
                    text = answer.aiter_text()
                    first = await anext(text)
                    here.router.end_all()
                    rest = first + "".join([part async for part in text])
                await asyncio.wait_for(engine.hung_up.wait(), 2)
        return answer, rest

    answer, text = asyncio.run(run())

    assert answer.status_code == 200
    *_, error, done = events_of(text)
    assert json.loads(error[6:])["error"]["code"] == "SHUTTING_DOWN"
    assert done == "data: [DONE]"


def test_a_request_that_comes_too_late_is_refused(tmp_path):
    """503 with SHUTTING_DOWN, at once, whatever is asked."""

    async def run():
        async with stage(tmp_path) as here:
            here.core.stopping = True
            return await here.chat(stream=True), await here.client.get("/v1/models")

    for answer in asyncio.run(run()):
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "SHUTTING_DOWN"


def test_a_mistake_of_ours_is_told_and_does_no_more_harm(tmp_path):
    """INTERNAL without a traceback, and the next request is answered."""

    async def run():
        async with stage(tmp_path) as here:
            find, here.core.models.find = here.core.models.find, None
            broken = await here.chat()
            here.core.models.find = find
            return broken, await here.client.get("/v1/models")

    broken, after = asyncio.run(run())

    assert broken.status_code == 500
    assert broken.json()["error"]["code"] == "INTERNAL"
    assert "Traceback" not in broken.text
    assert after.status_code == 200
