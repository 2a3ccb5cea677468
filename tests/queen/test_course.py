"""Who is to blame for failed attempts, and what comes next; the test speaks the hive's side."""

import asyncio
from contextlib import AsyncExitStack

from rbee.settings import Timing
from rbee.wire import control
from tests.queen.speaker import cut, speak, stall
from tests.queen.stage import MODEL, Engine, hold
from tests.queen.test_core import met, view
from tests.queen.test_dispatch import with_engines
from tests.queen.test_tries import Got, told_of

CRASHED = control.Problem("WORKER_CRASHED", "It gave itself up", retry="elsewhere", exit=1)
KILLED = control.Problem("WORKER_KILLED", "It was killed", retry="elsewhere", exit=137)


def with_dying(tmp_path, body, problems, *, others=()):
    """Ask once; each worker that gets the request dies of the next problem."""

    async def run():
        async with AsyncExitStack() as stack:
            engines = [
                await stack.enter_async_context(Engine(speak(breaks=hung_up, after=2)).running())
                for _ in problems
            ]
            extra = [await stack.enter_async_context(Engine(play).running()) for play in others]
            views = [
                view(id_=f"w{n}", port=one.port, digest="sha256:x", settings="s")
                for n, one in enumerate([*engines, *extra], 1)
            ]
            here, hive = await stack.enter_async_context(met(tmp_path, *views))
            asked = asyncio.ensure_future(here.chat(stream=True))
            for number, (engine, problem) in enumerate(zip(engines, problems, strict=True), 1):
                await asyncio.wait_for(engine.reached.wait(), 10)
                hive.say(control.WorkerGone(f"w{number}", MODEL, "chat", problem))
                engine.let_go.set()
            await body(here, hive, Got((await asyncio.wait_for(asked, 15)).text))

    asyncio.run(run())


async def hung_up(engine, reader, writer):
    engine.reached.set()
    await engine.let_go.wait()
    await cut(engine, reader, writer)


def test_a_request_that_crashes_two_workers_gets_no_third(tmp_path):
    """REQUEST_QUARANTINED, with the cause; a third worker goes on serving others."""

    async def body(here, hive, got):
        assert got.error["code"] == "REQUEST_QUARANTINED", got.error
        assert [one["code"] for one in got.error["attempts"]] == ["WORKER_CRASHED"] * 2
        again = await here.chat()
        assert (again.status_code, again.json()["error"]["code"]) == (422, "REQUEST_QUARANTINED")
        other = [{"role": "user", "content": "something else"}]
        assert (await here.chat(messages=other)).status_code == 200

    with_dying(tmp_path, body, [CRASHED, CRASHED], others=[speak()])


def test_kills_from_outside_are_nobodys_fault(tmp_path):
    """Two SIGKILLs, and the third worker finishes the answer."""

    async def body(here, hive, got):
        assert got.finish == ["stop"]
        assert [one["code"] for one in got.rbee["attempts"]] == ["WORKER_KILLED"] * 2
        (told,) = await told_of(here, got.rbee["job_id"], 1)
        assert (told.code, told.outcome) == ("WORKER_KILLED", "ok")

    with_dying(tmp_path, body, [KILLED, KILLED], others=[speak()])


def test_the_third_kill_is_the_last(tmp_path):
    """ATTEMPTS_EXHAUSTED, with the last cause in its words."""

    async def body(here, hive, got):
        assert got.error["code"] == "ATTEMPTS_EXHAUSTED"
        assert "It was killed" in got.error["message"]
        assert got.error["details"]["cause"] == "WORKER_KILLED"

    with_dying(tmp_path, body, [KILLED] * 3)


def test_a_worker_that_lives_is_tried_again_after_a_pause(tmp_path):
    """A cut wire is no death: with nobody else there, the same worker gets a second chance."""

    async def run():
        plays = iter([speak(breaks=cut, after=2), speak()])

        async def each(*how):
            await next(plays)(*how)

        async with Engine(each).running() as engine:
            one = view(port=engine.port, digest="sha256:x", settings="s")
            async with met(tmp_path, one) as (here, _):
                got = Got((await here.chat(stream=True)).text)

                assert got.finish == ["stop"] and len(engine.asked) == 2
                assert got.splices() == [(2, "replay", True)]

    asyncio.run(run())


def test_news_of_a_worker_end_the_pause(tmp_path):
    """Whoever waits for the only worker takes the next one that comes."""

    async def run():
        async with AsyncExitStack() as stack:
            first, second = [
                await stack.enter_async_context(Engine(play).running())
                for play in (speak(breaks=cut, after=2), speak())
            ]
            one = view(port=first.port, digest="sha256:x", settings="s")
            here, hive = await stack.enter_async_context(met(tmp_path, one))
            asked = asyncio.ensure_future(here.chat(stream=True))
            while not first.asked:
                await asyncio.sleep(0)
            hive.say(control.WorkerGone("w1", MODEL, "chat", KILLED))
            hive.say(control.WorkerChanged(view(id_="w2", port=second.port)))

            assert Got((await asked).text).finish == ["stop"]

    asyncio.run(run())


def test_a_client_is_told_while_its_answer_waits(tmp_path):
    """All workers are gone: comments until another one comes, and then the rest of the answer."""

    async def run():
        async with AsyncExitStack() as stack:
            first, second = [
                await stack.enter_async_context(Engine(play).running())
                for play in (speak(breaks=cut, after=2), speak())
            ]
            one = view(port=first.port, digest="sha256:x", settings="s")
            timing = Timing(hold_status_s=0.1, comment_every_s=0.1)
            here, hive = await stack.enter_async_context(met(tmp_path, one, timing=timing))
            body = {"model": MODEL, "stream": True}
            request = here.client.stream("POST", "/v1/chat/completions", json=body)
            answer = await stack.enter_async_context(request)
            lines = answer.aiter_lines()
            hive.say(control.WorkerGone("w1", MODEL, "chat", KILLED))
            while await anext(lines) != ": rbee loading the model":
                continue
            hive.say(control.WorkerChanged(view(id_="w2", port=second.port)))
            rest = [line async for line in lines]

            assert rest[-2] == "data: [DONE]" and any('"stop"' in line for line in rest)

    asyncio.run(run())


def test_a_client_is_told_while_its_answer_is_replayed(tmp_path):
    """Nothing new comes for a while: the stream says why."""

    async def body(here, first, second):
        text = (await here.chat(stream=True, timeout_s=1.5)).text

        assert ": rbee another worker has come to token 3 of what you have\n" in text

    slow = speak(breaks=stall, after=2)
    with_engines(tmp_path, body, speak(breaks=cut, after=5), slow)


def test_an_engine_that_does_not_stream_does_not_take_over(tmp_path):
    """A whole body cannot be put into a stream that has begun."""

    async def whole(engine, reader, writer, body):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async def body(here, first, second, third):
        got = Got((await here.chat(stream=True)).text)

        assert got.finish == ["stop"] and len(got.rbee["attempts"]) == 2

    with_engines(tmp_path, body, speak(breaks=cut, after=3), whole, speak())


def test_who_hangs_up_while_it_is_repaired_leaves_nothing(tmp_path):
    """The wait for another worker ends with the client."""

    async def run():
        async with Engine(speak(breaks=cut, after=2)).running() as engine:
            async with Engine(hold()).running() as second:
                async with met(
                    tmp_path,
                    view(port=engine.port, digest="sha256:x", settings="s"),
                    view(id_="w2", port=second.port, digest="sha256:x", settings="s"),
                ) as (here, _):
                    asked = asyncio.ensure_future(here.chat(stream=True))
                    while not second.asked:
                        await asyncio.sleep(0)
                    asked.cancel()
                    await asyncio.wait_for(second.hung_up.wait(), 5)

                    assert not here.core.counters.lost

    asyncio.run(run())
