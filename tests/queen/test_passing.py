"""Dialects that are passed on: nothing before the first word, and their own words for a fault."""

import asyncio
import json

import pytest

from tests.queen.speaker import cut, reset, speak, stall
from tests.queen.stage import events_of
from tests.queen.test_dispatch import with_engines


def named(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def native(content="", **fields):
    return b"data: " + json.dumps({"content": content, "stop": False, **fields}).encode() + b"\n\n"


PROGRESS = {"prompt_progress": {"total": 9, "cache": 0, "processed": 4, "time_ms": 1}}
RESPONSE = {"id": "r", "created_at": 1, "status": "completed", "output": []}
SAID = {
    "/v1/responses": [
        named("response.created", response={"id": "r"}),
        named("response.in_progress", response={"id": "r"}, **PROGRESS),
        named("response.output_text.delta", delta="Hel"),
        named("response.output_text.delta", delta="lo"),
        named("response.completed", response=RESPONSE),
    ],
    "/v1/messages": [
        named("message_start", message={"id": "m", "usage": {"input_tokens": 1}}),
        named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        named("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}),
        named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}),
        named("message_stop"),
    ],
    "/completion": [
        native(**PROGRESS),
        native("Hel"),
        native("lo"),
        native(stop=True, tokens_predicted=2),
    ],
}
PATHS = pytest.mark.parametrize("path", list(SAID))


def says(path, **how):
    return speak(events=SAID[path], **how)


async def ask(here, path, **fields):
    body = {"model": "tiny", "prompt": "hi", **fields}
    return await here.client.post(path, json=body)


@PATHS
def test_a_stream_is_passed_without_the_progress(tmp_path, path):
    """The client gets the engine's own events; the engine is asked for its progress."""

    async def body(here, engine):
        answer = await ask(here, path, stream=True)

        said = [block.split("data: ")[1] for block in events_of(answer.text)]
        sent = [json.loads(one.split(b"data: ")[1]) for one in SAID[path]]
        expected = [one for one in sent if one.get("content", None) != "" or one["stop"]]
        for one in expected:
            one.pop("prompt_progress", None)
        assert [json.loads(one) for one in said] == expected
        assert engine.asked[0]["stream"] is True and engine.asked[0]["return_progress"] is True

    with_engines(tmp_path, body, says(path))


@PATHS
def test_without_a_stream_the_engine_streams_all_the_same(tmp_path, path):
    """One object for the client; upstream a hang-up is seen within a batch."""

    async def body(here, engine):
        value = (await ask(here, path)).json()

        assert engine.asked[0]["stream"] is True
        if path == "/v1/responses":
            assert value == {**RESPONSE, "completed_at": 1}
        elif path == "/v1/messages":
            assert value["content"][0]["text"] == "Hello" and value["stop_reason"] == "end_turn"
        else:
            assert value["content"] == "Hello" and value["tokens_predicted"] == 2

    with_engines(tmp_path, body, says(path))


@PATHS
@pytest.mark.parametrize("breaks", [cut, reset])
def test_a_fault_before_the_first_word_is_not_the_clients_business(tmp_path, path, breaks):
    """What an engine announces before it has read the prompt is held back."""

    async def body(here, first, second):
        answer = await ask(here, path, stream=True)

        assert (len(first.asked), len(second.asked)) == (1, 1)
        assert answer.text.count("Hel") == 1 and "error" not in answer.text
        assert answer.text.count("response.created") <= 2

    before = speak(events=SAID[path][:1], breaks=breaks)
    with_engines(tmp_path, body, before, says(path))


@PATHS
def test_a_fault_after_the_first_word_is_told_in_the_dialects_words(tmp_path, path):
    """Not repaired, and never a clean-looking end; without a stream it is run again."""

    async def body(here, first, second):
        blocks = events_of((await ask(here, path, stream=True)).text)

        assert "WORKER_LOST" in blocks[-1] or "connection to a worker" in blocks[-1]
        assert blocks[-1].startswith("data: " if path == "/completion" else "event: error\n")
        assert not second.asked
        assert (await ask(here, path)).status_code == 200

    with_engines(tmp_path, body, says(path, breaks=cut, after=1), says(path))


def test_several_prompts_are_answered_in_one_body(tmp_path):
    """The native dialect gives a list for a list: that is passed as it is."""

    async def body(here, engine):
        answer = await ask(here, "/completion", prompt=["a", "b"])

        assert answer.json() == [1, 2] and engine.asked[0]["stream"] is False

    async def two(engine, reader, writer, body):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n[1, 2]")

    with_engines(tmp_path, body, two)


@PATHS
def test_who_hangs_up_without_a_stream_stops_the_engine(tmp_path, path):
    """A client that waits for one object is heard of as soon as it leaves."""

    async def body(here, engine):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await ask(here, path)
        await asyncio.wait_for(engine.hung_up.wait(), 2)

    with_engines(tmp_path, body, says(path, breaks=stall, after=0))
