"""What a client hears of a worker that runs on less than was asked for."""

import asyncio

from msgspec import structs

from tests.queen.stage import WHOLE, Engine, say, stage


def test_any_words_of_an_engine_fit_the_header(tmp_path):
    """A GPU's name with a ™ in it costs nobody his answer; the body has it as it is."""

    async def run():
        async with stage(tmp_path) as here, Engine(say(WHOLE)).running() as engine:
            here.worker(engine)
            (worker,) = here.core.roster.workers.values()
            here.core.roster.put(structs.replace(worker, degraded="Radeon™ was lost"))
            answer = await here.chat()
            assert answer.headers["x-rbee-degraded"] == "Radeon? was lost"
            assert answer.json()["rbee"]["degraded"] == "Radeon™ was lost"

    asyncio.run(run())
