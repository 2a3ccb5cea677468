"""What the hive says and what requests get for it, over the real control socket.

The test speaks the hive's side of the protocol, line by line.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from rbee.edge.lines import LineChannel, dial_lines
from rbee.errors import RbeeError
from rbee.settings import KEEP_ALWAYS, Timing
from rbee.version import CONTROL_PROTOCOL, VERSION
from rbee.wire import control
from tests.eventually import soon
from tests.queen.stage import MODEL, WHOLE, Engine, say, stage

VIEW = control.ModelView(MODEL, MODEL, 1, "sha256:x", "test", 1.0, context_train_tokens=512)
PROBLEM = control.Problem("MODEL_CORRUPTED", "The file is damaged", status=422, retry="never")


def hello(*workers, version=VERSION):
    engine = control.EngineView("llama-cpp", "b1")
    return control.Hello(
        version, CONTROL_PROTOCOL, "h", 1, "box", 2, 1 << 30, engine, (), workers, (VIEW,)
    )


def view(state="READY", id_="w1", port=1, **facts):
    return control.WorkerView(
        id_, "h", MODEL, MODEL, "chat", state, port=port, key="k", slots=1, **facts
    )


class Hive:
    """The test's end of the control socket."""

    def __init__(self, channel: LineChannel) -> None:
        self.channel = channel

    def say(self, message) -> None:
        self.channel.send(control.encode(message))

    async def hear(self, kind):
        """The next message of that kind."""
        async with asyncio.timeout(5):
            while (line := await self.channel.receive()) is not None:
                message = control.decode_to_hive(line)
                if isinstance(message, kind):
                    return message
        raise AssertionError("the queen closed the connection")


@asynccontextmanager
async def met(tmp_path, *workers, **settings):
    """A stage whose queen has met a hive."""
    async with stage(tmp_path, **settings) as here:
        path = tmp_path / "control.sock"
        await here.core.link.listen(path)
        hive = Hive(await dial_lines(path, connect_s=1, limit_bytes=1 << 20))
        hive.say(hello(*workers))
        await hive.hear(control.Welcome)
        try:
            yield here, hive
        finally:
            here.core.link.close()


def test_who_comes_before_the_hive_is_told_nothing_wrong(tmp_path):
    """A queen that has just begun does not know yet what is stored: it says neither that a model
    is not there, nor that nobody can load it, but waits for its hive."""

    async def run():
        async with stage(tmp_path, met=False) as here, Engine(say(WHOLE)).running() as engine:
            here.core.roster.models = ()
            path = tmp_path / "control.sock"
            await here.core.link.listen(path)
            asked = [asyncio.ensure_future(here.chat()), asyncio.ensure_future(listed(here))]
            await soon(lambda: here.router.running == 2)
            hive = Hive(await dial_lines(path, connect_s=1, limit_bytes=1 << 20))
            hive.say(hello(view(port=engine.port)))
            chat, models = await asyncio.gather(*asked)
            here.core.link.close()

            assert chat.status_code == 200
            assert [one["id"] for one in models.json()["data"]] == [MODEL]

    async def listed(here):
        return await here.client.get("/v1/models")

    asyncio.run(run())


def test_who_comes_where_no_hive_ever_does_is_told_so(tmp_path):
    """The wait for the hive ends with the time that it has for its start."""

    async def run():
        async with stage(tmp_path, met=False, timing=Timing(worker_start_s=0.3)) as here:
            answer = await here.chat()

            assert answer.status_code == 503 and answer.json()["error"]["code"] == "HIVE_LOST"

    asyncio.run(run())


def test_who_waits_for_the_hive_of_a_queen_that_stops_is_told_that(tmp_path):
    """Not that its model is unknown."""

    async def run():
        async with stage(tmp_path, met=False) as here:
            here.core.roster.models = ()
            asked = asyncio.ensure_future(here.chat())
            await soon(lambda: here.router.running)
            here.core.stopping = True
            answer = await asked

            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "SHUTTING_DOWN"

    asyncio.run(run())


def test_what_is_loaded_on_demand_does_not_outlast_the_queen(tmp_path):
    """An embedding worker of a model that stays loaded for ever is no wish of anybody: the next
    queen would take its one replica for what the model was told."""

    async def run():
        async with met(tmp_path) as (here, hive):
            how = replace(here.core.settings.defaults, name=MODEL, keep_alive_s=KEEP_ALWAYS)
            settings = replace(here.core.settings, models={MODEL: replace(how, replicas=2)})
            here.core.models.follow(settings)
            asked = asyncio.ensure_future(
                here.client.post("/v1/embeddings", json={"model": MODEL, "input": "a"})
            )
            want = await hive.hear(control.Want)
            asked.cancel()

            assert (want.wish.mode, want.wish.keep_alive_s) == ("embedding", KEEP_ALWAYS)
            assert here.core.wishes.lasting() == ()

    asyncio.run(run())


def test_a_request_for_a_model_that_is_not_loaded_loads_it(tmp_path):
    """The hive is told once, and the request is served when the worker is ready."""

    async def run():
        async with met(tmp_path) as (here, hive), Engine(say(WHOLE)).running() as engine:
            asked = [asyncio.ensure_future(here.chat()) for _ in range(2)]
            want = await hive.hear(control.Want)
            assert want.wish.name == MODEL and not want.fresh
            hive.say(control.WorkerChanged(view("LOADING")))
            hive.say(control.WorkerChanged(view(port=engine.port)))
            answers = await asyncio.gather(*asked)

            assert [one.status_code for one in answers] == [200, 200]
            assert (await hive.hear(control.Busy)) == control.Busy("w1", 1)

    asyncio.run(run())


def test_a_model_that_cannot_load_is_answered_from_memory(tmp_path):
    """The first request waits for the verdict, the next gets it at once, until it changes."""

    async def run():
        async with met(tmp_path) as (here, hive):
            first = asyncio.ensure_future(here.chat())
            await hive.hear(control.Want)
            hive.say(control.Unservable(MODEL, "chat", PROBLEM))
            assert (await first).json()["error"]["code"] == "MODEL_CORRUPTED"
            second = await here.chat()
            assert second.status_code == 422
            assert second.headers["x-should-retry"] == "false"

            hive.say(control.ModelsChanged((VIEW,)))
            third = asyncio.ensure_future(here.chat())
            await hive.hear(control.Want)
            third.cancel()

    asyncio.run(run())


def test_a_failure_that_is_not_tried_again_answers_every_request(tmp_path):
    """A worker that stays FAILED keeps nobody waiting: each request asks the hive, and is told."""
    memory = control.Problem("WORKER_OUT_OF_MEMORY", "Too little", status=507, retry="elsewhere")
    failed = control.WorkerChanged(view("FAILED", problem=memory))

    async def run():
        async with met(tmp_path) as (here, hive):
            for _ in range(2):
                asked = asyncio.ensure_future(here.chat())
                await hive.hear(control.Want)
                hive.say(failed)
                hive.say(control.Unservable(MODEL, "chat", memory))
                assert (await asked).json()["error"]["code"] == "WORKER_OUT_OF_MEMORY"

    asyncio.run(run())


def test_a_hive_that_returns_is_told_what_runs(tmp_path):
    """A new hive counts from nothing: streams that go on are told to it again."""

    async def run():
        async with met(tmp_path, view()) as (here, _):
            here.core.roster.set_busy("w1", 2)
            path = tmp_path / "control.sock"
            again = Hive(await dial_lines(path, connect_s=1, limit_bytes=1 << 20))
            again.say(hello(view()))
            await again.hear(control.Welcome)

            assert await again.hear(control.Busy) == control.Busy("w1", 2)

    asyncio.run(run())


def test_the_hives_word_on_a_death_is_what_the_client_gets(tmp_path):
    """ "Killed from outside" says more than "the connection broke"; the answer waits for another
    worker meanwhile."""
    cut = WHOLE[: WHOLE.index(b'"lo"')]

    async def run():
        async with Engine(say(cut, then_close=True)).running() as engine, whole() as second:
            async with met(tmp_path, view(port=engine.port)) as (here, hive):
                asked = asyncio.ensure_future(here.chat(stream=True))
                await hive.hear(control.Busy)
                killed = control.Problem("WORKER_KILLED", "It was killed", retry="elsewhere")
                hive.say(control.WorkerGone("w1", MODEL, "chat", killed))
                assert (await hive.hear(control.Want)).wish.name == MODEL
                hive.say(control.WorkerChanged(view(id_="w2", port=second.port)))

                text = (await asked).text
                assert '"code":"WORKER_KILLED"' in text and text.count('"content":"Hel"') == 2
                assert '"mode":"continue"' in text

    asyncio.run(run())


def whole():
    return Engine(say(WHOLE)).running()


def test_a_worker_that_went_idle_is_wanted_again_by_who_waits(tmp_path):
    """A request in the moment of an unload is not lost."""

    async def run():
        async with met(tmp_path, view("DRAINING")) as (here, hive):
            asked = asyncio.ensure_future(here.chat())
            while not here.core.lanes.waiting().get(MODEL):
                await asyncio.sleep(0)
            hive.say(control.WorkerGone("w1", MODEL, "chat"))

            assert (await hive.hear(control.Want)).wish.name == MODEL
            asked.cancel()

    asyncio.run(run())


def test_draining_is_acknowledged_when_nothing_runs(tmp_path):
    """The hive may stop a worker as soon as the queen says that nothing runs on it."""

    async def run():
        async with met(tmp_path, view()) as (_, hive):
            hive.say(control.WorkerChanged(view("DRAINING")))

            assert await hive.hear(control.Busy) == control.Busy("w1", 0)

    asyncio.run(run())


def test_another_version_is_refused_and_named(tmp_path):
    """A mismatch says both versions; requests that would need the hive get it too."""

    async def run():
        async with stage(tmp_path) as here:
            path = tmp_path / "control.sock"
            await here.core.link.listen(path)
            hive = Hive(await dial_lines(path, connect_s=1, limit_bytes=1 << 20))
            hive.say(hello(version="9.9.9"))
            refused = await hive.hear(control.Refused)
            assert refused.problem.code == "VERSION_MISMATCH"
            assert "9.9.9" in refused.problem.message and VERSION in refused.problem.message

            answer = await here.chat()

            assert answer.status_code == 409
            assert (await here.client.get("/ready")).json()["error"]["code"] == "VERSION_MISMATCH"
            here.core.link.close()

    asyncio.run(run())


def test_damaged_wishes_are_told_once(tmp_path):
    """In the log of faults, open until a person has said again what is to be served."""

    async def run():
        async with stage(tmp_path) as here:
            (tmp_path / "wishes.json").write_bytes(b"[{")
            here.core.recall()
            here.core.recall()
            (told,) = here.core.events.recent(code="WISHES_DAMAGED")

            assert told.outcome == "open" and "wishes.json.damaged" in told.done
            assert here.core.wishes.all() == ()

    asyncio.run(run())


def test_calls_are_answered_reported_and_cancelled(tmp_path):
    """A call gets its progress and its answer; who stops waiting stops the work."""

    async def run():
        async with met(tmp_path) as (here, hive):
            heard = []
            call = asyncio.ensure_future(
                here.core.link.call(lambda id_: control.Pull(id_, "x"), on_progress=heard.append)
            )
            pull = await hive.hear(control.Pull)
            hive.say(control.Progress(pull.call, "fetching", 1, 2))
            hive.say(control.Done(pull.call, {"name": "x"}))
            assert await call == {"name": "x"} and heard[0].done_bytes == 1

            second = asyncio.ensure_future(here.core.link.call(lambda id_: control.Pull(id_, "y")))
            pull = await hive.hear(control.Pull)
            second.cancel()
            assert (await hive.hear(control.CancelCall)).call == pull.call

            third = asyncio.ensure_future(here.core.link.call(lambda id_: control.Pull(id_, "z")))
            await hive.hear(control.Pull)
            hive.channel.close()
            with pytest.raises(RbeeError) as caught:
                await third
            assert caught.value.code == "HIVE_LOST"

    asyncio.run(run())


@pytest.mark.parametrize("line", [b"rubbish\n", b'{"type":"done","call":"x"}\n', b"{}\n"])
def test_a_peer_that_is_no_hive_is_turned_away(tmp_path, line):
    """Whatever dials the control socket without a Hello is closed; the queen goes on."""

    async def run():
        async with stage(tmp_path) as here:
            path = tmp_path / "control.sock"
            await here.core.link.listen(path)
            channel = await dial_lines(path, connect_s=1, limit_bytes=1 << 20)
            channel.send(line)

            assert await asyncio.wait_for(channel.receive(), 5) is None
            assert (await here.client.get("/health")).status_code == 200
            here.core.link.close()

    asyncio.run(run())
