"""What a request brings to the door of its model."""

import asyncio

import pytest

from tests.queen.stage import WHOLE, Engine, hold, say, stage


@pytest.mark.parametrize(
    ("said", "status"),
    [("high", 200), ("LOW", 200), ("normal", 200), ("urgent", 400), ("", 400)],
)
def test_a_priority_is_one_of_three(tmp_path, said, status):
    """`X-Rbee-Priority` is high, normal or low, in any case; anything else is INVALID_REQUEST."""

    async def run():
        async with stage(tmp_path) as here, Engine(say(WHOLE)).running() as engine:
            here.worker(engine)
            answer = await here.client.post(
                "/v1/chat/completions",
                json={"model": "tiny", "messages": []},
                headers={"x-rbee-priority": said},
            )
            assert answer.status_code == status, answer.text
            if status == 400:
                error = answer.json()["error"]
                assert error["code"] == "INVALID_REQUEST" and error["param"] == "X-Rbee-Priority"

    asyncio.run(run())


def test_what_is_urgent_is_served_first(tmp_path):
    """On the whole way: of three that wait for one slot, the high one comes before the normal one,
    and the low one is last."""

    async def run():
        async with stage(tmp_path) as here, Engine(hold()).running() as engine:
            here.worker(engine, slots=1)
            holding = asyncio.ensure_future(here.chat())
            tasks = []
            for number, priority in enumerate(("low", "normal", "high"), 1):
                request = here.client.post(
                    "/v1/chat/completions",
                    json={"model": "tiny", "messages": [], "user": priority},
                    headers={"x-rbee-priority": priority},
                )
                tasks.append(asyncio.ensure_future(request))
                async with asyncio.timeout(10):
                    while here.core.lanes.waiting().get("tiny") != number:
                        await asyncio.sleep(0)
            engine.play = say(WHOLE)
            holding.cancel()
            await asyncio.gather(*tasks)

            assert [one.get("user") for one in engine.asked[1:]] == ["high", "normal", "low"]

    asyncio.run(run())
