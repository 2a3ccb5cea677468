"""What the work of a job says goes into the job, once, in the order in which it was said."""

import asyncio

import pytest

from rbee.edge.http_server import Request
from rbee.errors import RbeeError
from rbee.policy.job_life import State
from rbee.queen.answer import Dialect
from rbee.queen.job import Job
from rbee.queen.job_answer import JobAnswer, without_client
from rbee.wire import sse
from rbee.wire.jobs import CHAT, Mark, Record
from rbee.wire.transcript import Conditions
from tests.queen.job_doubles import Disk, Nobody

ONE = b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'
TWO = b'data: {"choices":[{"index":0,"delta":{"content":"two"}}]}\n\n'


def answering(body, *, pieces=b"", disk=None):
    """Run `body(job, answer)` on a loop; the job has those events already."""

    async def run():
        record = Record(id="job_1", key_id="", endpoint=CHAT, model="tiny", request=b"{}")
        job = Job(record, Nobody(), disk)
        job.begin(lambda error: None)
        job.recall(1, sse.Splitter(100_000).feed(pieces), None)
        exchange = without_client(Request("POST", CHAT, CHAT, "", ()))
        body(job, JobAnswer(job, exchange, Dialect.OPENAI, 100_000))

    asyncio.run(run())


@pytest.mark.parametrize(
    "parts",
    [[ONE, TWO], [ONE + TWO], [ONE[:20], ONE[20:] + TWO[:5], TWO[5:]], [b":\n\n" + ONE, TWO]],
    ids=["each", "both", "cut", "with a comment"],
)
def test_events_are_told_apart_however_they_come(parts):
    """One piece an event; comments and the end mark are none."""

    def body(job, answer):
        for part in [*parts, sse.DONE]:
            assert answer.send(part) is True
        assert job.pieces == [ONE, TWO] and job.kept_count == 2 and job.status is State.RUNNING

    answering(body)


def test_what_is_said_after_the_end_is_not_part_of_the_answer():
    """A cancelled job does not grow."""

    def body(job, answer):
        answer.send(ONE)
        job.cancel()
        answer.send(TWO)
        answer.finish_stream(done_mark=True)
        answer.fail(RbeeError("SHUTTING_DOWN"))
        assert answer.closed and job.pieces == [ONE]
        assert job.status is State.CANCELLED and job.error.code == "CANCELLED"

    answering(body)


def test_the_journal_knows_how_the_answer_came_about():
    """The conditions of the first attempt, attempts and splices, each time that they change."""
    disk = Disk()

    def body(job, answer):
        answer.transcript.conditions = Conditions("digest", "build", "cpu", "settings", 0)
        answer.transcript.prompt_tokens = 7
        answer.send(ONE)
        answer.send(TWO)
        answer.attempts.append({"worker": "w1", "code": "WORKER_KILLED"})
        answer.send(ONE)
        first, one, two, second, again = sse.Splitter(100_000).feed(job.take())
        assert [one.raw, two.raw, again.raw] == [ONE, TWO, ONE]
        mark = Mark.read(first.raw)
        assert (mark.conditions.digest, mark.prompt_tokens, mark.attempts) == ("digest", 7, ())
        assert Mark.read(second.raw).attempts[0]["worker"] == "w1"
        assert job.pieces == [ONE, TWO, ONE]

    answering(body, disk=disk)


def test_an_answer_is_taken_up_where_it_was():
    """What an earlier life has sent, and under which conditions, is what the splice gets."""
    conditions = Conditions("digest", "build", "cpu", "settings", 0)
    attempts = ({"worker": "w1", "code": "WORKER_KILLED"},)
    mark = Mark(conditions, 7, True, attempts, ({"at_token": 1},))

    def body(job, answer):
        told = answer.transcript
        assert told.choices[0].text == "onetwo"
        assert (told.conditions, told.prompt_tokens, told.continued) == (conditions, 7, True)
        assert answer.attempts == list(attempts) and answer.splices == [{"at_token": 1}]
        answer.send(ONE)
        assert job.take() == ONE

    answering(body, pieces=ONE + mark.written() + TWO, disk=Disk())


def test_a_wait_is_told_as_the_status(tmp_path):
    """In line, loading, at a worker, and back in line when that one is lost."""

    def body(job, answer):
        seen = []
        for phase in ("queued", "loading", "prefill", "queued"):
            answer.note("words", {"phase": phase, "position": 3})
            seen.append(str(job.status))
        assert seen == ["queued", "loading", "running", "queued"]
        assert job.waits["position"] == 3
        answer.worker = None
        assert job.status is State.RUNNING and not job.waits

    answering(body)
