"""An answer that broke off is taken up by another worker, over real sockets.

The engines are doubles that break as they are told; everything else is the product.
"""

import asyncio
import json

import pytest

from rbee.queen import inference
from rbee.queen.routes import Route
from rbee.settings import Bounds, Limits
from rbee.wire.transcript import Transcript
from tests.queen import speaker
from tests.queen.speaker import TEXT, WORDS, cut, delta, speak
from tests.queen.stage import DONE, Engine, events_of, stage
from tests.queen.test_dispatch import FAST, with_engines

USAGE = {"include_usage": True}


async def told_of(here, job, count):
    """What the log of faults says of a request; a cause may come a moment after its end."""
    async with asyncio.timeout(5):
        while len(told := here.core.events.recent(job=job)) < count:
            await asyncio.sleep(0)
    return told


class Got:
    """A streamed answer as a client sees it."""

    def __init__(self, text: str) -> None:
        blocks = [one for one in events_of(text) if one.startswith("data: ")]
        assert blocks[-1] == "data: [DONE]"
        self.values = [json.loads(block[6:]) for block in blocks[:-1]]
        self.error = self.values[-1].get("error")
        said = [one for value in self.values for one in value.get("choices", ())]
        self.text = "".join(one["delta"].get("content") or "" for one in said)
        self.roles = sum("role" in one["delta"] for one in said)
        self.finish = [one["finish_reason"] for one in said if one["finish_reason"]]
        self.usages = [value["usage"] for value in self.values if value.get("usage")]
        self.ids = {(value["id"], value["created"]) for value in self.values if "id" in value}
        found = [value["rbee"] for value in self.values if "rbee" in value]
        self.rbee = found[-1] if found else {}

    def splices(self) -> list[tuple[int, str, bool]]:
        assert all(one["gap_ms"] >= 0 for one in self.rbee.get("splices", ()))
        return [(one["at_token"], one["mode"], one["exact"]) for one in self.rbee["splices"]]


@pytest.mark.parametrize("after", range(9))
@pytest.mark.parametrize(
    "breaks", [speaker.cut, speaker.reset, speaker.garble, speaker.end, speaker.fail]
)
def test_a_fault_is_repaired_exactly(tmp_path, breaks, after):
    """Wherever and however the first worker breaks: one answer, one role, one id, one usage."""

    async def body(here, first, second):
        got = Got((await here.chat(stream=True, stream_options=USAGE)).text)

        assert (got.text, got.roles, got.finish) == (TEXT, 1, ["stop"])
        assert got.usages == [{"completion_tokens": 8, "prompt_tokens": 3, "total_tokens": 11}]
        assert got.ids == {("first", 5)}
        assert [one["code"] for one in got.rbee["attempts"]] == ["WORKER_LOST"]
        if after:
            assert got.splices() == [(after, "replay", True)]
            assert here.core.counters.splices["replay", True] == 1
        told = await told_of(here, got.rbee["job_id"], bool(after))
        assert [one.outcome for one in told] == ["ok"] * bool(after)
        assert second.asked[0]["cache_prompt"] is False
        assert second.asked[0]["seed"] == first.asked[0]["seed"]

    first = speak(breaks=breaks, after=after, id_="first")
    with_engines(tmp_path, body, first, speak(id_="second"))


def test_a_worker_that_hangs_is_left_for_another(tmp_path):
    """No byte, no answer to the probe: the answer goes on elsewhere."""

    async def body(here, first, second):
        second.healthy = True
        got = Got((await here.chat(stream=True)).text)

        assert got.text == TEXT and got.rbee["attempts"][0]["code"] == "WORKER_HUNG"
        assert "w1" not in here.core.roster.workers

    hung = speak(breaks=speaker.stall, after=3)
    with_engines(tmp_path, body, hung, speak(), healthy=False)


def test_a_token_that_does_not_come_is_looked_for_elsewhere(tmp_path):
    """A process that lives and makes no progress is left after the limit."""

    async def body(here, first, second):
        got = Got((await here.chat(stream=True)).text)

        assert got.text == TEXT and got.rbee["attempts"][0]["code"] == "TOKEN_STALL"

    stalled = speak(breaks=speaker.stall, after=3)
    with_engines(tmp_path, body, stalled, speak(), limits=Limits(stall_s=0.5))


def test_a_trickle_is_no_fault(tmp_path):
    """Bytes that come one by one are an answer, though a slow one."""

    async def body(here, engine):
        got = Got((await here.chat(stream=True)).text)

        assert got.text == TEXT and "attempts" not in got.rbee

    with_engines(tmp_path, body, speaker.trickle)


def test_a_deadline_is_not_extended_by_a_splice(tmp_path):
    """What the first worker took is gone for the second."""

    async def body(here, first, second):
        began = here.core.clock()
        got = Got((await here.chat(stream=True, timeout_s=0.8)).text)

        assert got.error["code"] == "DEADLINE_EXCEEDED" and got.text == "".join(WORDS[:3])
        assert here.core.clock() - began < 1.8

    stalled = speak(breaks=speaker.stall, after=1)
    with_engines(tmp_path, body, speak(breaks=cut, after=3), stalled, healthy=True)


def test_what_went_out_is_gone_on_from_where_no_replay_can_be_exact(tmp_path):
    """Against a warm cache the next worker would say something else: it gets the text instead."""

    async def body(here, first, second):
        got = Got((await here.chat(stream=True, stream_options=USAGE, max_tokens=8)).text)

        assert (got.text, got.roles, got.finish) == (TEXT, 1, ["length"])
        assert got.usages == [{"completion_tokens": 8, "prompt_tokens": 3, "total_tokens": 11}]
        assert got.splices() == [(5, "continue", False)] and got.ids == {("a", 1)}
        assert second.asked[0]["messages"][-1]["content"] == "".join(WORDS[:5])
        assert second.asked[0]["max_tokens"] == 3

    with_engines(tmp_path, body, speak(breaks=cut, after=5, cached=2), speak(id_="second"))


def test_what_was_continued_once_is_only_ever_continued(tmp_path):
    """No replay can meet a text that two attempts have made: none is tried."""

    async def body(here, first, second, third):
        got = Got((await here.chat(stream=True)).text)

        assert got.text == TEXT
        assert got.splices() == [(3, "continue", False), (5, "continue", False)]
        assert len(third.asked) == 1

    first, second = speak(breaks=cut, after=3, cached=2), speak(breaks=cut, after=2)
    with_engines(tmp_path, body, first, second, speak())


def test_a_replay_that_says_something_else_becomes_a_continuation(tmp_path):
    """The client's text is never contradicted."""
    other = ("One ", "cat ", "two ", "fish ", "red 🐟 ", "fish ", "blue ", "fish.")
    plays = [speak(words=other), speak()]

    async def body(here, first, second):
        second.play = twice(*plays)
        got = Got((await here.chat(stream=True)).text)

        assert got.text == TEXT and got.splices() == [(3, "continue", False)]
        assert len(second.asked) == 2 and len(got.rbee["attempts"]) == 1

    with_engines(tmp_path, body, speak(breaks=cut, after=3), speak())


def twice(first, second):
    """One play for the first request, another for the next."""
    plays = iter([first, second])

    async def play(*how):
        await next(plays)(*how)

    return play


def test_an_engine_that_goes_on_from_no_text_is_asked_again(tmp_path):
    """Some templates refuse an assistant's message at the end: then it is a replay after all."""

    async def body(here, first, second):
        second.play = twice(refuse, speak(id_="second"))
        got = Got((await here.chat(stream=True)).text)

        assert got.text == TEXT and got.splices() == [(4, "replay", False)]

    with_engines(tmp_path, body, speak(breaks=cut, after=4, cached=2), speak())


async def refuse(engine, reader, writer, body):
    said = b'{"error":{"code":400,"message":"no prefill","type":"invalid_request_error"}}'
    writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(said) + said)


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function"}]},
        {"grammar": "root ::= x"},
    ],
)
def test_what_is_formed_is_only_ever_replayed(tmp_path, fields):
    """A grammar cannot be gone on from: another text is told as an error, the partial kept."""

    async def body(here, first, second):
        answer = await here.chat(stream=True, **fields)
        got = Got(answer.text)

        assert got.text == "".join(WORDS[:3]) and not got.finish
        assert got.error["code"] == "SPLICE_DIVERGED" and got.error["details"]["tokens"] == 3
        assert here.core.counters.lost["tiny"] == 1
        whole = (await here.chat(**fields)).json()["error"]
        assert whole["code"] == "SPLICE_DIVERGED"
        assert whole["details"]["partial"] == "".join(WORDS[:3])

    other = speak(words=("One ", "dog.", ""))
    with_engines(tmp_path, body, speak(breaks=cut, after=3), other)


def test_exactness_that_was_asked_for_is_kept_or_refused(tmp_path):
    """`X-Rbee-Exact: 1`: a worker of other settings does not take over."""

    async def body(here, first, second):
        worker = here.core.roster.workers["w2"]
        here.worker(second, "w2", settings="other")
        headers = {"x-rbee-exact": "1"}
        answer = await here.client.post("/v1/chat/completions", json=ASK, headers=headers)
        got = Got(answer.text)
        assert got.error["code"] == "SPLICE_DIVERGED" and got.text == "".join(WORDS[:3])
        assert first.asked[0]["cache_prompt"] is False

        here.core.roster.put(worker)
        answer = await here.client.post("/v1/chat/completions", json=ASK, headers=headers)
        assert Got(answer.text).splices() == [(3, "replay", True)]

    with_engines(tmp_path, body, speak(breaks=cut, after=3), speak())


ASK = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "hi"}]}

CALL = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "add"}}
PARTS = ['{"', "city", '":"', "Ulan", "-Ba", "tor", '"}']


def calls(id_):
    """The deltas of one tool call, as llama.cpp b11549 cuts them."""
    head = {**CALL, "id": f"call_{id_}", "function": {"name": "add", "arguments": ""}}
    events = [delta(id_, role="assistant", content=None), delta(id_, tool_calls=[head])]
    for part in PARTS:
        events.append(delta(id_, tool_calls=[{"index": 0, "function": {"arguments": part}}]))
    return [*events, delta(id_, "tool_calls"), speaker.usage(id_, 3, 9), DONE]


@pytest.mark.parametrize("after", [0, 2, 4, 6, 7])
def test_tool_calls_are_replayed_to_the_letter(tmp_path, after):
    """One call, one id, whole arguments: at whatever delta the first worker died."""

    async def body(here, first, second):
        tools = [{"type": "function", "function": {"name": "add"}}]
        got = Got((await here.chat(stream=True, tools=tools, stream_options=USAGE)).text)
        pieces = [
            call
            for value in got.values
            for one in value["choices"]
            for call in one["delta"].get("tool_calls", ())
        ]

        assert [one["id"] for one in pieces if "id" in one] == ["call_a"]
        assert "".join(one["function"].get("arguments", "") for one in pieces) == "".join(PARTS)
        assert got.finish == ["tool_calls"] and len(got.usages) == 1

    first = speak(breaks=cut, after=after, events=calls("a"))
    with_engines(tmp_path, body, first, speak(events=calls("b")))


def test_an_answer_in_one_piece_is_repaired_the_same_way(tmp_path):
    """The client that did not ask for a stream gets one object, with the splice in it."""

    async def body(here, first, second):
        answer = (await here.chat()).json()

        assert answer["choices"][0]["message"]["content"] == TEXT and answer["id"] == "a"
        assert answer["usage"]["completion_tokens"] == 8
        assert answer["rbee"]["splices"][0]["mode"] == "replay"

    with_engines(tmp_path, body, speak(breaks=cut, after=5), speak(id_="second"))


@pytest.mark.parametrize("stream", [True, False])
def test_three_failures_are_told_with_what_there_is(tmp_path, stream):
    """ATTEMPTS_EXHAUSTED, every attempt, and the partial: in the stream or in the error."""

    async def body(here, *engines):
        answer = await here.chat(stream=stream)
        error = Got(answer.text).error if stream else answer.json()["error"]

        assert error["code"] == "ATTEMPTS_EXHAUSTED" and len(error["attempts"]) == 3
        assert {one["worker"] for one in error["attempts"]} == {"w1", "w2", "w3"}
        partial = Got(answer.text).text if stream else error["details"]["partial"]
        assert partial == "".join(WORDS[:4])
        (*_, lost) = await told_of(here, error["job_id"], 1)
        assert lost.outcome == "lost"

    plays = [speak(breaks=cut, after=after) for after in (2, 3, 4)]
    with_engines(tmp_path, body, *plays)


def test_retries_have_a_budget(tmp_path):
    """A machine on which everything fails is not asked three times as much."""

    async def run():
        bounds = Bounds(retries_per_minute=1)
        async with Engine(speak(breaks=cut, after=0)).running() as engine:
            async with stage(tmp_path, timing=FAST, bounds=bounds) as here:
                here.worker(engine)
                answers = [(await here.chat()).json()["error"] for _ in range(2)]

                assert [len(one["attempts"]) for one in answers] == [2, 1]
                assert {one["code"] for one in answers} == {"WORKER_LOST"}

    asyncio.run(run())


def test_all_the_tokens_went_out_and_then_the_worker_died(tmp_path):
    """Nothing is left to say: the finish and the usage are made here, without another worker."""

    async def body(here, first, second):
        got = Got((await here.chat(stream=True, stream_options=USAGE, max_tokens=8)).text)

        assert (got.text, got.finish) == (TEXT, ["length"])
        assert got.usages == [{"completion_tokens": 8, "prompt_tokens": 3, "total_tokens": 11}]
        assert not second.asked

    with_engines(tmp_path, body, speak(breaks=cut, after=8), speak())


@pytest.mark.parametrize("breaks", [cut, speaker.stall, speaker.garble])
def test_what_befalls_an_engine_after_its_finish_is_no_fault(tmp_path, breaks):
    """The answer is whole; the usage is the one that was counted here."""

    async def body(here, engine):
        got = Got((await here.chat(stream=True, stream_options=USAGE)).text)

        assert got.finish == ["stop"] and "attempts" not in got.rbee
        assert got.usages == [{"completion_tokens": 8, "prompt_tokens": 3, "total_tokens": 11}]

    with_engines(tmp_path, body, speak(breaks=breaks, after=9), healthy=False)


def test_a_stop_string_across_the_seam_ends_the_answer(tmp_path):
    """Half of it went out before the cut: the engine that goes on cannot know."""

    async def body(here, first, second):
        got = Got((await here.chat(stream=True, stop="two fish red", stream_options=USAGE)).text)

        assert got.text == "One fish two " and got.finish == ["stop"] and len(got.usages) == 1

    words = ("One ", "fish ", "two ", "fish red ", "and more", " and more")
    first = speak(breaks=cut, after=3, words=words, cached=2)
    with_engines(tmp_path, body, first, speak(words=words))


def test_an_answer_that_an_earlier_queen_began_goes_on(tmp_path):
    """A transcript made from what was journalled is where the first attempt starts."""

    given = [event[6:-2] for event in speaker.answer({}, WORDS, "old", 0)[1:5]]

    async def resumed(visit):
        visit.answer.transcript = Transcript.of(given)
        await inference.chat(visit)

    async def run():
        routes = {"/v1/chat/completions": Route({"POST": resumed})}
        async with Engine(speak()).running() as engine, stage(tmp_path, routes=routes) as here:
            here.worker(engine)
            got = Got((await here.chat(stream=True)).text)

            assert got.text == "".join(WORDS[3:]) and got.roles == 0
            assert got.ids == {("old", 3)} and got.splices() == [(3, "continue", False)]

    asyncio.run(run())
