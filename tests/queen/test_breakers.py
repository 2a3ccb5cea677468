"""Breakers on the real path: real sockets, engines that fail, a hundred clients at once."""

import asyncio
from contextlib import AsyncExitStack

from rbee.settings import Timing
from tests.queen.stage import HEAD, WHOLE, Engine, chunk, event, say, stage

FAST = Timing(breaker_open_local_s=0.2, hold_status_s=0.3)
BROKEN = say(then_close=True)
REFUSING = say(
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 39\r\n\r\n"
    b'{"error":{"code":400,"message":"no no"}'
)


def on_stage(tmp_path, body, *plays, slots=200, timing=FAST):
    async def run():
        async with AsyncExitStack() as stack:
            engines = [await stack.enter_async_context(Engine(one).running()) for one in plays]
            here = await stack.enter_async_context(stage(tmp_path, timing=timing))
            for number, engine in enumerate(engines, 1):
                here.worker(engine, f"w{number}", slots)
            await body(here, *engines)

    asyncio.run(run())


def breaker(here, id_="w1"):
    return here.core.health.view(here.core.roster.workers[id_])["breaker"]


async def open_it(here):
    """Five that fail at the same time are five faults in a row."""
    await asyncio.gather(*(here.chat() for _ in range(5)))
    assert breaker(here) == "open"


async def until(check):
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0)


def test_a_worker_that_always_fails_is_cut_off_and_said(tmp_path):
    """When nothing else is left the answer is CIRCUIT_OPEN at once, with the time of the next try;
    `ps`, metrics and events show it."""

    async def body(here, engine):
        await open_it(here)
        asked = len(engine.asked)
        answer = await here.chat()
        error = answer.json()["error"]
        shown = (await here.client.get("/rbee/ps")).json()["workers"][0]["health"]
        metrics = (await here.client.get("/metrics")).text

        assert answer.status_code == 503 and error["code"] == "CIRCUIT_OPEN"
        assert int(answer.headers["retry-after"]) >= 1 and len(engine.asked) == asked == 5
        assert shown["breaker"] == "open" and 0 < shown["retry_in_s"] <= 10
        assert 'rbee_worker_breaker{model="tiny",state="open",worker="w1"} 1.0' in metrics
        assert here.core.events.recent(code="CIRCUIT_OPEN")[0].worker == "w1"

    on_stage(tmp_path, body, BROKEN, timing=Timing(breaker_open_local_s=10))


def test_half_open_lets_exactly_one_of_a_hundred_through(tmp_path):
    """A hundred ask at once: the engine sees one; once it served that one, the others follow."""

    async def body(here, engine):
        await open_it(here)
        before = len(engine.asked)
        goes_on = asyncio.Event()

        async def play(engine, reader, writer, body):
            await goes_on.wait()
            writer.write(WHOLE)

        engine.play = play
        await until(lambda: here.core.lanes.look() or breaker(here) == "half_open")
        asked = [asyncio.ensure_future(here.chat()) for _ in range(100)]
        await until(lambda: here.core.lanes.waiting().get("tiny") == 99)
        assert len(engine.asked) <= before + 1
        await until(lambda: len(engine.asked) == before + 1)
        goes_on.set()
        answers = await asyncio.gather(*asked)

        assert [one.status_code for one in answers] == [200] * 100
        assert len(engine.asked) == before + 100 and breaker(here) == "closed"

    on_stage(tmp_path, body, BROKEN)


def test_bad_requests_never_open_it(tmp_path):
    """The engine refuses fifty requests, one after the other: that is the requests' fault."""

    async def body(here, engine):
        answers = [await here.chat() for _ in range(50)]

        assert {one.json()["error"]["code"] for one in answers} == {"ENGINE_REFUSED"}
        assert breaker(here) == "closed" and len(engine.asked) == 50

    on_stage(tmp_path, body, REFUSING)


def test_hang_ups_never_open_it(tmp_path):
    """Twenty clients that leave in the middle say nothing of the worker."""

    async def body(here, engine):
        async def play(engine, reader, writer, body):
            writer.write(HEAD + chunk(event(content="Hel")))
            await reader.read()

        engine.play = play
        for _ in range(20):
            request = {"model": "tiny", "stream": True, "messages": []}
            async with here.client.stream("POST", "/v1/chat/completions", json=request) as answer:
                async for _ in answer.aiter_raw():
                    break
        await until(lambda: not here.core.roster.busy["w1"])
        assert breaker(here) == "closed"

    on_stage(tmp_path, body, BROKEN)


def test_faults_of_one_worker_are_nobodys_business_while_another_serves(tmp_path):
    """Every request is answered; the failing one sees five attempts and no more."""

    async def body(here, failing, working):
        answers = [await here.chat() for _ in range(30)]

        assert [one.status_code for one in answers] == [200] * 30
        assert len(failing.asked) == 5 and breaker(here) == "open"

    on_stage(tmp_path, body, BROKEN, say(WHOLE), timing=Timing(breaker_open_local_s=30))
