"""One request through router, lanes, attempt and relay, against engines that misbehave."""

import asyncio
import json
from contextlib import AsyncExitStack

import httpx
import pytest

from rbee.settings import Limits, Timing
from tests.queen.stage import (
    DONE,
    END,
    HEAD,
    WHOLE,
    Engine,
    chunk,
    event,
    events_of,
    hold,
    progress,
    say,
    stage,
)

FAST = Timing(
    silence_s=0.3, probe_s=0.2, hold_status_s=0.3, comment_every_s=0.3, worker_start_s=1.0
)


def with_engines(tmp_path, body, *plays, timing=FAST, limits=Limits(), slots=2, healthy=True):
    """Run `body(stage, *engines)` with a worker for each play."""

    async def run():
        async with AsyncExitStack() as stack:
            engines = [
                await stack.enter_async_context(Engine(play, healthy=healthy).running())
                for play in plays
            ]
            here = await stack.enter_async_context(stage(tmp_path, timing=timing, limits=limits))
            for number, engine in enumerate(engines, 1):
                here.worker(engine, f"w{number}", slots)
            await body(here, *engines)

    asyncio.run(run())


def error_in(block: str) -> dict:
    assert block.startswith("data: {"), block
    return json.loads(block[6:])["error"]


def test_a_stream_is_forwarded_without_what_is_not_the_clients(tmp_path):
    """Engine comments, progress and an unasked usage chunk stay here; `rbee` is in the finish."""

    async def body(here, engine):
        answer = await here.chat(stream=True)
        blocks = events_of(answer.text)

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["x-request-id"].startswith("job_")
        assert len(blocks) == 5 and blocks[-1] == "data: [DONE]"
        assert not any(block.startswith(":") or "usage" in block for block in blocks)
        finish = json.loads(blocks[3][6:])
        assert finish["choices"][0]["finish_reason"] == "stop"
        assert finish["rbee"]["worker"] == "w1" and finish["rbee"]["device"] == "cpu"
        assert engine.asked[0]["stream"] is True and "seed" in engine.asked[0]

    with_engines(tmp_path, body, say(WHOLE))


def test_usage_is_forwarded_to_who_asks(tmp_path):
    """`stream_options.include_usage` is obeyed."""

    async def body(here, engine):
        answer = await here.chat(stream=True, stream_options={"include_usage": True})

        assert '"usage"' in answer.text

    with_engines(tmp_path, body, say(WHOLE))


def test_without_a_stream_the_answer_is_one_object(tmp_path):
    """The engine streams, the client gets a whole."""

    async def body(here, engine):
        answer = (await here.chat()).json()

        assert answer["choices"][0]["message"]["content"] == "Hello"
        assert answer["usage"]["completion_tokens"] == 2 and answer["rbee"]["worker"] == "w1"
        assert engine.asked[0]["stream"] is True

    with_engines(tmp_path, body, say(WHOLE))


def test_x_rbee_quiet_keeps_the_body_as_the_engine_made_it(tmp_path):
    """Strict parsers get no field of ours."""

    async def body(here, engine):
        answer = await here.client.post(
            "/v1/chat/completions",
            json={"model": "tiny", "stream": True},
            headers={"x-rbee-quiet": "1"},
        )

        assert '"rbee"' not in answer.text

    with_engines(tmp_path, body, say(WHOLE))


TWO_TOKENS = (HEAD, chunk(event(content="Hel")), chunk(event(content="lo")))


@pytest.mark.parametrize(
    ("rest", "close"),
    [
        ((), True),
        ((END,), False),
        ((chunk(DONE), END), False),
        ((chunk(b"data: {rubbish\n\n"),), False),
        ((chunk(b"data: {"),), True),
        ((b"zz\r\n",), True),
    ],
    ids=["cut", "clean end", "[DONE] alone", "garbled event", "half an event", "bad chunk"],
)
def test_a_stream_without_its_finish_ends_in_a_coded_error(tmp_path, rest, close):
    """However an answer breaks off, the client never sees a clean-looking end."""

    async def body(here, engine):
        blocks = events_of((await here.chat(stream=True)).text)

        assert blocks[-1] == "data: [DONE]"
        error = error_in(blocks[-2])
        assert error["code"] == "ATTEMPTS_EXHAUSTED" and error["details"]["tries"] == 3
        assert [one["code"] for one in error["attempts"]] == ["WORKER_LOST"] * 3
        assert error["attempts"][0]["worker"] == "w1" and 'finish_reason":"' not in str(blocks)

    with_engines(tmp_path, body, say(*TWO_TOKENS, *rest, then_close=close))


def test_a_fault_before_the_first_token_is_not_the_clients_business(tmp_path):
    """A worker that breaks before it said anything is replaced by the next."""

    async def body(here, first, second):
        answer = await here.chat(stream=True)

        assert answer.text.count('"finish_reason":"stop"') == 1
        assert (len(first.asked), len(second.asked)) == (1, 1)

    with_engines(tmp_path, body, say(then_close=True), say(WHOLE))


def test_attempts_are_three_at_most_and_told(tmp_path):
    """What failed three times is given up, with every attempt and no invitation to retry."""

    async def body(here, engine):
        answer = await here.chat()

        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "ATTEMPTS_EXHAUSTED"
        assert len(answer.json()["error"]["attempts"]) == 3 == len(engine.asked)
        assert answer.headers["x-should-retry"] == "false"

    with_engines(tmp_path, body, say(then_close=True))


def test_the_engines_refusal_keeps_its_meaning(tmp_path):
    """An overflow is a 400 with both numbers, and is not tried again."""
    said = (
        b'{"error":{"code":400,"message":"m","type":"exceed_context_size_error",'
        b'"n_prompt_tokens":30,"n_ctx":10}}'
    )
    head = b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(said)

    async def body(here, engine):
        answer = await here.chat(stream=True)

        assert answer.status_code == 400
        details = answer.json()["error"]["details"]
        assert (details["prompt_tokens"], details["context_tokens"]) == (30, 10)
        assert len(engine.asked) == 1

    with_engines(tmp_path, body, say(head + said))


def test_a_hang_up_reaches_the_engine(tmp_path):
    """Who closes the connection stops the work, and the slot is free again."""

    async def body(here, engine):
        with pytest.raises(httpx.ReadTimeout):
            await here.client.post(
                "/v1/chat/completions", json={"model": "tiny", "stream": True}, timeout=0.3
            )
        await asyncio.wait_for(engine.hung_up.wait(), 2)

        async def idle():
            while here.core.roster.busy["w1"]:
                await asyncio.sleep(0)

        await asyncio.wait_for(idle(), 2)

    with_engines(tmp_path, body, hold(HEAD, chunk(event(content="a"))))


def test_silence_is_probed_and_then_called_hung(tmp_path):
    """No byte and no answer to the probe: the worker hangs, is reported to the hive, and gets
    nothing more; here no hive is left to bring another."""

    async def body(here, engine):
        blocks = events_of((await here.chat(stream=True)).text)
        error = error_in(blocks[-2])

        assert (error["code"], error["attempts"][0]["code"]) == ("HIVE_LOST", "WORKER_HUNG")
        assert "w1" not in here.core.roster.workers

    with_engines(tmp_path, body, hold(HEAD, chunk(event(content="a"))), healthy=False)


@pytest.mark.parametrize(
    ("before", "code"),
    [((HEAD,), "FIRST_TOKEN_TIMEOUT"), (TWO_TOKENS, "TOKEN_STALL")],
)
def test_a_process_that_lives_without_progress_is_given_up(tmp_path, before, code):
    """Health alone proves nothing: a wedged engine answers 200."""

    async def body(here, engine):
        assert code in (await here.chat(stream=True)).text

    with_engines(tmp_path, body, hold(*before), limits=Limits(stall_s=0.6))


def test_a_deadline_is_kept(tmp_path):
    """`timeout_s` ends an answer that would go on, and says in which phase it was."""

    async def body(here, engine):
        blocks = events_of((await here.chat(stream=True, timeout_s=0.4)).text)
        error = error_in(blocks[-2])

        assert error["code"] == "DEADLINE_EXCEEDED" and error["details"]["deadline_s"] == 0.4

    with_engines(tmp_path, body, hold(*TWO_TOKENS))


def test_a_long_prompt_is_told_in_comments_after_the_hold(tmp_path):
    """The status line is held; then 200 and comments of ours, never bare ones."""

    async def body(here, engine):
        answer = await here.chat(stream=True, timeout_s=1.5)
        comments = [one for one in events_of(answer.text) if one.startswith(":")]

        assert comments and all(one == ": rbee reading the prompt, 50%" for one in comments)

    with_engines(tmp_path, body, hold(HEAD, chunk(progress(4, 8)), chunk(b":\n\n")))


def test_typed_events_tell_the_phase_to_who_asks(tmp_path):
    """`X-Rbee-Events: 1` gets events with empty choices."""

    async def body(here, engine):
        answer = await here.client.post(
            "/v1/chat/completions",
            json={"model": "tiny", "stream": True, "timeout_s": 1},
            headers={"x-rbee-events": "1"},
        )
        first = events_of(answer.text)[0].split("\n")

        assert first[0] == "event: rbee"
        said = json.loads(first[1][6:])
        assert said["choices"] == [] and said["rbee"]["phase"] == "prefill"

    with_engines(tmp_path, body, hold(HEAD, chunk(progress(4, 8))))


def test_a_full_queue_answers_503_with_a_time(tmp_path):
    """One slot, no queue: the second request is refused at once, with Retry-After."""

    async def body(here, engine):
        first = asyncio.ensure_future(here.chat(stream=True, timeout_s=1))
        while not engine.asked:
            await asyncio.sleep(0)
        second = await here.chat(stream=True)

        assert second.status_code == 503 and second.json()["error"]["code"] == "QUEUE_FULL"
        assert int(second.headers["retry-after"]) >= 1
        await first

    with_engines(tmp_path, body, hold(*TWO_TOKENS), limits=Limits(queue=0), slots=1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_queue_has_an_end_in_time(tmp_path, stream):
    """Who waits longer than queue_wait gets QUEUE_TIMEOUT, not silence; a stream too, whose status
    line is held back until then."""

    async def body(here, engine):
        first = asyncio.ensure_future(here.chat(stream=True, timeout_s=2))
        while not engine.asked:
            await asyncio.sleep(0)
        second = await here.chat(stream=stream)

        assert second.status_code == 504 and second.json()["error"]["code"] == "QUEUE_TIMEOUT"
        await first

    with_engines(tmp_path, body, hold(*TWO_TOKENS), limits=Limits(queue_wait_s=0.3), slots=1)


def test_other_dialects_end_in_their_own_words(tmp_path):
    """Anthropic's SDK takes an EOF for success; only `event: error` raises."""
    start = b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n'

    async def body(here, engine):
        answer = await here.client.post("/v1/messages", json={"model": "tiny", "stream": True})
        blocks = events_of(answer.text)

        assert blocks[-1].startswith("event: error\n") and "[DONE]" not in answer.text
        assert json.loads(blocks[-1].split("data: ")[1])["type"] == "error"

    with_engines(tmp_path, body, say(HEAD, chunk(start), then_close=True))


def test_connections_to_a_worker_are_kept(tmp_path):
    """Many requests, one connect."""

    async def body(here, engine):
        for _ in range(20):
            assert (await here.chat()).status_code == 200

        assert here.core.client.connects == 1

    with_engines(tmp_path, body, say(WHOLE))


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("GET", "/nothing", {}, 404, "ROUTE_NOT_FOUND"),
        ("GET", "/v1/chat/completions", {}, 405, "METHOD_NOT_ALLOWED"),
        (
            "POST",
            "/v1/chat/completions",
            {"content-type": "text/plain"},
            415,
            "CONTENT_TYPE_REFUSED",
        ),
        ("GET", "/health", {"host": "evil.example"}, 403, "HOST_FORBIDDEN"),
        ("GET", "/health", {"origin": "https://evil.example"}, 403, "ORIGIN_FORBIDDEN"),
        ("POST", "/rbee/shutdown", {"content-type": "application/json"}, 403, "ADMIN_ONLY"),
        ("GET", "/v1/models/unknown", {}, 404, "MODEL_NOT_FOUND"),
    ],
)
def test_callers_are_checked(tmp_path, method, path, headers, status, code):
    """Each refusal has its status and its code, and does not run anything."""

    async def body(here):
        answer = await here.client.request(method, path, headers=headers, content=b"{}")

        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)

    with_engines(tmp_path, body)


def test_looking_needs_no_worker(tmp_path):
    """Models, health, metrics and the description are answered by the queen alone."""

    async def body(here):
        listed = (await here.client.get("/v1/models")).json()
        assert listed["data"][0]["id"] == "tiny" and listed["data"][0]["context_length"] == 512
        assert (await here.client.get("/v1/models/tiny")).json()["id"] == "tiny"
        assert (await here.client.get("/health")).json() == {"status": "ok"}
        assert "rbee_hive_connected 0.0" in (await here.client.get("/metrics")).text
        assert "/v1/messages" in (await here.client.get("/openapi.json")).json()["paths"]
        assert (await here.client.get("/ready")).status_code == 503
        assert (await here.client.head("/")).status_code == 200

    with_engines(tmp_path, body)


def test_browsers_are_told_what_they_may_send(tmp_path):
    """A preflight of an allowed page lists headers by name; `*` would not cover Authorization."""

    async def body(here):
        page = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
        answer = await here.client.options("/v1/chat/completions", headers=page)

        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert "authorization" in answer.headers["access-control-allow-headers"]

    with_engines(tmp_path, body)
