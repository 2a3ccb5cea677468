"""Promises about servers of somebody else as workers of the pool."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

from rbee.queen.attached import new_wish
from rbee.queen.attached_look import look_at
from rbee.settings import Timing
from tests.eventually import soon as until
from tests.queen.foreign import foreign, said
from tests.queen.stage import DONE, END, HEAD, MODEL, WHOLE, Engine, chunk, event, hold, say, stage

FAST = Timing(
    health_every_s=0.1,
    attached_probe_s=0.3,
    connect_s=0.3,
    attached_first_token_s=0.6,
    attached_token_s=0.4,
)
CHAT = "/v1/chat/completions"


async def attach(here, server, name="hermes", **fields):
    core = here.core
    where = {"host": "127.0.0.1", "port": server.port, "base": "/v1", "tls": False}
    wish = new_wish(core.attached.next_id(), model=name, theirs="their-model", **where, **fields)
    return core.attached.put(wish, await look_at(core.client, wish, core.settings.timing))


def with_server(tmp_path, body, timing=FAST):
    """Run `body(stage, server)` with one server that is attached as `hermes`."""

    async def run():
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(foreign())
            here = await stack.enter_async_context(stage(tmp_path, timing=timing))
            here.core.attached.load(tmp_path / "attached.json")
            await attach(here, server)
            try:
                await body(here, server)
            finally:
                await here.core.attached.close()

    asyncio.run(run())


def test_it_serves_under_our_name(tmp_path):
    """It is asked by its own name and without llama.cpp's words; its answer names ours."""
    theirs = event(content="Hello").replace(b'"tiny"', b'"their-model"')

    async def body(here, server):
        server.answers[CHAT] = HEAD + chunk(theirs) + chunk(event("stop")) + chunk(DONE) + END
        answer = await here.chat(model="hermes", stream=True)

        assert answer.status_code == 200 and '"Hello"' in answer.text
        assert '"hermes"' in answer.text and "their-model" not in answer.text
        (asked,) = server.bodies
        assert asked["model"] == "their-model" and asked["stream_options"]["include_usage"]
        assert not {"return_progress", "cache_prompt"} & set(asked)

    with_server(tmp_path, body)


def test_a_wish_outlives_the_queen(tmp_path):
    """Another queen of the same home reads it, with the name of the key and without the key."""

    async def body(here, server):
        (kept,) = json.loads((tmp_path / "attached.json").read_text())
        assert (kept["model"], kept["theirs"], kept["key_env"]) == ("hermes", "their-model", "")
        async with stage(tmp_path, timing=FAST) as other:
            other.core.attached.load(tmp_path / "attached.json")
            assert other.core.roster.workers["a1"].state == "STARTING"
            await until(lambda: other.core.roster.workers["a1"].state == "READY")
            await other.core.attached.close()

    with_server(tmp_path, body)


def test_a_file_that_cannot_be_read_is_no_wish(tmp_path):
    """A queen starts whatever stands there."""

    async def run():
        async with stage(tmp_path) as here:
            for data in (b"{", b"[1]", b"\xff"):
                (tmp_path / "attached.json").write_bytes(data)
                here.core.attached.load(tmp_path / "attached.json")
            assert not here.core.roster.workers

    asyncio.run(run())


def test_one_that_goes_is_told_and_comes_back(tmp_path):
    """Nobody waits for it; the log of faults says when it went and when it came."""

    async def body(here, server):
        server.stop()
        await until(lambda: here.core.roster.workers["a1"].state == "FAILED")
        answer = await here.chat(model="hermes")
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "ATTACHED_UNREACHABLE"
        listed = (await here.client.get("/v1/models/hermes")).json()
        assert listed["rbee"]["attached"][0]["state"] == "FAILED"

        await server.start()
        await until(lambda: here.core.roster.workers["a1"].state == "READY")
        told = [(one.code, one.outcome) for one in here.core.events.recent()]
        assert told == [("ATTACHED_UNREACHABLE", "open"), ("ATTACHED_UNREACHABLE", "ok")]
        assert here.core.events.open_of("attached a1") is None

    with_server(tmp_path, body)


def test_a_fault_of_an_earlier_life_is_over_once_it_answers(tmp_path):
    """The queen was restarted in between: nobody is needed for what is well again."""

    async def body(here, server):
        server.stop()
        await until(lambda: here.core.events.open_of("attached a1"))
        await here.core.attached.close()
        here.core.events.close()
        await server.start()
        async with stage(tmp_path, timing=FAST) as other:
            other.core.events.load()
            assert other.core.events.open_of("attached a1").code == "ATTACHED_UNREACHABLE"
            other.core.attached.load(tmp_path / "attached.json")
            await until(lambda: other.core.events.open_of("attached a1") is None)
            assert other.core.events.recent()[-1].outcome == "ok"
            await other.core.attached.close()

    with_server(tmp_path, body)


def test_a_fault_of_one_that_is_detached_is_over(tmp_path):
    """And another server that gets its number begins with nothing."""

    async def body(here, server):
        server.stop()
        await until(lambda: here.core.events.open_of("attached a1"))
        here.core.attached.drop("a1")
        assert here.core.events.open_of("attached a1") is None

    with_server(tmp_path, body)


def test_who_waits_for_a_slot_of_it_is_told_that_it_is_gone(tmp_path):
    """No line stands before a door that nobody opens."""

    async def body(here, server):
        server.answers[CHAT] = None
        waiting = [asyncio.create_task(here.chat(model="hermes")) for _ in range(6)]
        await until(lambda: here.core.lanes.waiting().get("hermes") == 2)
        server.stop()
        answers = await asyncio.gather(*waiting)
        codes = {one.json()["error"]["code"] for one in answers}
        assert "ATTACHED_UNREACHABLE" in codes, codes
        assert all(one.status_code >= 500 for one in answers)

    with_server(tmp_path, body)


def test_silence_has_the_limits_of_a_server_without_pings(tmp_path):
    """No token in time: the request is told so, for reading and for writing."""

    async def body(here, server):
        server.answers[CHAT] = HEAD
        answer = await here.chat(model="hermes")
        assert answer.json()["error"]["code"] == "FIRST_TOKEN_TIMEOUT"
        server.answers[CHAT] = HEAD + chunk(event(content="Hel"))
        answer = await here.chat(model="hermes")
        assert answer.json()["error"]["code"] == "TOKEN_STALL"
        # An answer in one piece that stops in the middle ends too.
        whole = said({"data": [], "model": "their-model"})
        server.answers["/v1/embeddings"] = whole[:-5]
        answer = await here.client.post("/v1/embeddings", json={"model": "hermes", "input": "x"})
        assert answer.json()["error"]["code"] == "FIRST_TOKEN_TIMEOUT"

    with_server(tmp_path, body)


def test_what_it_refuses_is_told_as_it_is(tmp_path):
    """A 4xx is the request's; a full server says when to come back; a refused key is not quoted."""

    async def body(here, server):
        for status, code, ours in (
            (400, "ENGINE_REFUSED", 400),
            (429, "ATTACHED_BUSY", 429),
            (401, "ATTACHED_KEY", 502),
        ):
            server.answers[CHAT] = said({"error": {"message": "sk-s3cret"}}, status)
            answer = await here.chat(model="hermes")
            assert (answer.status_code, answer.json()["error"]["code"]) == (ours, code)
            assert status == 400 or "sk-s3cret" not in answer.text

    with_server(tmp_path, body)


def test_what_is_no_answer_of_its_kind_is_a_fault(tmp_path):
    """A redirect, a sign-in page, one piece instead of a stream: none reaches the client."""
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
    moved = b"HTTP/1.1 302 X\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n"

    async def body(here, server):
        for answer in (page, moved, said({"choices": []})):
            server.answers[CHAT] = answer
            got = await here.chat(model="hermes")
            assert (got.status_code, got.json()["error"]["code"]) == (502, "ATTEMPTS_EXHAUSTED")
            assert "html" not in got.text and "elsewhere" not in got.text
            here.core.health.forget("a1")
        server.answers["/v1/embeddings"] = page
        got = await here.client.post("/v1/embeddings", json={"model": "hermes", "input": "x"})
        assert got.status_code == 502 and "html" not in got.text

    with_server(tmp_path, body)


def test_it_stands_beside_workers_of_ours(tmp_path):
    """One name, one pool: what only ours can do goes to ours, what a digest pins too."""

    async def body(here, server):
        async with Engine(say(WHOLE)).running() as engine:
            here.worker(engine, "w1")
            await attach(here, server, MODEL)
            for _ in range(3):
                answer = await here.chat(model=f"{MODEL}@sha256:x")
                assert answer.status_code == 200, answer.text
            assert not server.bodies and len(engine.asked) == 3

    with_server(tmp_path, body)


def test_routes_of_ours_alone_are_not_asked_of_it(tmp_path):
    """It is told which ones it serves, and the server hears nothing of it."""

    async def body(here, server):
        for path in ("/tokenize", "/v1/messages", "/v1/responses"):
            answer = await here.client.post(path, json={"model": "hermes", "content": "x"})
            assert answer.status_code == 501, answer.text
            assert "attached server" in answer.text
        assert not server.bodies

    with_server(tmp_path, body)


def test_an_answer_that_broke_off_goes_on_elsewhere(tmp_path):
    """From text, for nobody knows what another server would repeat; vLLM is told to go on."""
    begun = HEAD + chunk(event(role="assistant", content="")) + chunk(event(content="Hel"))
    rest = HEAD + chunk(event(content="lo")) + chunk(event("stop")) + chunk(DONE) + END

    async def body(here, server):
        async with foreign() as second, Engine(hold()).running():
            await attach(here, second)
            server.answers[CHAT], second.answers[CHAT] = begun, rest
            answer = await here.chat(model="hermes", stream=True, max_tokens=9)
            if not server.bodies:
                # The other was taken first.
                server.answers[CHAT], second.answers[CHAT] = begun, rest
                answer = await here.chat(model="hermes", stream=True, max_tokens=9)

        assert '"mode":"continue"' in answer.text and '"exact":false' in answer.text
        (asked,) = second.bodies[-1:]
        assert asked["messages"][-1] == {"role": "assistant", "content": "Hel"}
        assert asked["continue_final_message"] is True and asked["max_tokens"] == 8

    with_server(tmp_path, body)


def test_detached_is_gone(tmp_path):
    """By id or address; the model is not known any more, and no wish of it is left."""

    async def body(here, server):
        await attach(here, server, "hermes")
        assert list(here.core.roster.workers) == ["a1"]
        address = f"http://127.0.0.1:{server.port}/v1"
        assert here.core.attached.drop(address) == ["a1"]
        assert not here.core.roster.workers
        assert json.loads((tmp_path / "attached.json").read_text()) == []
        assert (await here.chat(model="hermes")).status_code == 404

    with_server(tmp_path, body)


def test_a_damaged_file_is_told_and_kept(tmp_path):
    """Servers that were attached are not forgotten in silence, nor the file written over."""

    async def run():
        async with stage(tmp_path) as here:
            (tmp_path / "attached.json").write_bytes(b"[{")
            here.core.attached.load(tmp_path / "attached.json")
            (told,) = here.core.events.recent(code="WISHES_DAMAGED")

            assert "state/attached.json" in told.what and told.outcome == "open"
            assert (tmp_path / "attached.json.damaged").read_bytes() == b"[{"

    asyncio.run(run())
