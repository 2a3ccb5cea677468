"""Attaching and detaching, as an administrator asks for it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import httpx
import pytest

from rbee.edge.http_server import HttpServer
from rbee.wire.keys import KeyAsk
from tests.queen.foreign import foreign, said
from tests.queen.stage import WHOLE, Engine, say, stage

TWO = said({"data": [{"id": "one"}, {"id": "two"}]})


def with_admin(tmp_path, body):
    """Run `body(stage, server, ask)`; `ask` posts to the admin socket."""

    async def run():
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(foreign())
            here = await stack.enter_async_context(stage(tmp_path))
            settings = here.core.settings
            front = HttpServer(here.router.handle, settings.bounds, settings.timing)
            await front.listen_unix(tmp_path / "admin.sock")
            transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "admin.sock"))
            client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
            stack.push_async_callback(front.close, 1.0)
            await stack.enter_async_context(client)

            async def ask(verb, **fields):
                return await client.post(f"/rbee/workers/{verb}", json=fields)

            try:
                await body(here, server, ask)
            finally:
                await here.core.attached.close()

    asyncio.run(run())


def test_it_is_looked_at_and_then_kept(tmp_path):
    """The answer says what it is called here and there."""

    async def body(here, server, ask):
        url = f"http://127.0.0.1:{server.port}"
        told = (await ask("attach", url=url, model="mine", ctx=99, slots=3)).json()
        assert told == {
            "worker": "a1",
            "model": "mine",
            "theirs": "their-model",
            "address": f"{url}/v1",
            "context_tokens": 99,
        }
        view = here.core.roster.workers["a1"]
        assert (view.state, view.slots, view.build) == ("READY", 3, "vllm")
        again = (await ask("attach", url=url, model="other")).json()
        assert again["worker"] == "a1" and len(here.core.roster.workers) == 1

    with_admin(tmp_path, body)


@pytest.mark.parametrize(
    "fields",
    [
        {"slots": -1},
        {"ctx": 1 << 30},
        {"key_env": "A", "key_file": "/b"},
        {"model": "x" * 2000},
        {"model": "a\nb"},
        {"url": "http://a:b@c/v1"},
        {"other": 1},
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, fields):
    """Before anybody is asked anything."""

    async def body(here, server, ask):
        answer = await ask("attach", **{"url": f"http://127.0.0.1:{server.port}", **fields})
        assert answer.json()["error"]["code"] == "INVALID_REQUEST"
        assert not server.heads and not here.core.roster.workers

    with_admin(tmp_path, body)


def test_which_of_its_models_is_asked(tmp_path):
    """A server with several is not guessed about."""

    async def body(here, server, ask):
        server.answers["/v1/models"] = TWO
        url = f"http://127.0.0.1:{server.port}"
        refused = (await ask("attach", url=url)).json()["error"]
        assert "one, two" in refused["message"] and refused["param"] == "model"
        assert (await ask("attach", url=url, model="mine=two")).json()["theirs"] == "two"

    with_admin(tmp_path, body)


def test_a_distant_administrator_names_no_secret(tmp_path):
    """A key is read on the machine of rbee, for whoever sits there: it could be any file."""

    async def body(here, server, ask):
        admin = here.core.keys.create(KeyAsk(roles=("admin",)), time.time()).key
        headers = {"authorization": f"Bearer {admin}"}
        url, asked = "/rbee/workers/attach", {"url": f"http://127.0.0.1:{server.port}"}
        for place in ({"key_env": "HOME"}, {"key_file": "/etc/hostname"}):
            answer = await here.client.post(url, json={**asked, **place}, headers=headers)
            assert answer.json()["error"]["param"] == "key_env" and not server.heads
        assert (await here.client.post(url, json=asked, headers=headers)).status_code == 200

    with_admin(tmp_path, body)


def test_rbee_is_not_attached_to_itself(tmp_path):
    """Its own address would be asked for ever."""

    async def body(here, server, ask):
        here.core.url = f"http://127.0.0.1:{server.port}"
        answer = await ask("attach", url=f"http://localhost:{server.port}/v1")
        assert "this rbee itself" in answer.json()["error"]["message"]

    with_admin(tmp_path, body)


def test_what_is_ours_is_not_detached_and_what_is_not_is_not_stopped(tmp_path):
    """Each is told by which command it goes."""

    async def body(here, server, ask):
        async with Engine(say(WHOLE)).running() as engine:
            here.worker(engine, "w1")
            answer = await ask("detach", worker="w1")
            assert "rbee workers shutdown" in answer.json()["error"]["message"]
        assert (await ask("detach", worker="a9")).json()["error"]["code"] == "WORKER_NOT_FOUND"
        url = f"http://127.0.0.1:{server.port}"
        await ask("attach", url=url)
        for body_ in ({"worker": "a1"}, {"model": "their-model"}):
            stopped = await ask("../stop", **body_)
            assert stopped.json()["error"]["code"] == "ATTACHED_NOT_OURS"
        assert (await ask("detach", worker=f"{url}/v1/")).json() == {"detached": ["a1"]}

    with_admin(tmp_path, body)
