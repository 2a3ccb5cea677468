"""Whatever the order of tokens, commits, slow readers, attachments: each event once, none early.

The disk and the sockets are the third parties here: a disk that commits when it is told to, and
clients that read when they are told to. Job, journal protocol, followers and answers are the
product's own.
"""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.edge.http_server import Exchange, Request
from rbee.queen.answer import Answer, Dialect
from rbee.queen.following import Following, Shape
from rbee.queen.job import Job
from rbee.settings import Timing
from rbee.wire import sse
from rbee.wire.jobs import CHAT, Record
from tests.queen.job_doubles import Client, Disk, Nobody


def token(number):
    return sse.encode(b'{"choices":[{"index":0,"delta":{"content":"w%d "}}]}' % number)


STEPS = st.lists(st.sampled_from(["add", "take", "commit", "attach", "room", "full"]), max_size=60)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 10))
def test_every_event_comes_once_and_none_before_it_is_kept(steps, later):
    """From wherever a client attaches, however slowly it reads."""

    async def run():
        disk = Disk()
        record = Record(id="job_1", key_id="", endpoint="/v1/x", model="tiny", request=b"{}")
        job = Job(record, Nobody(), disk)
        job.begin(lambda error: None)
        attached = []

        def attach():
            client = Client()
            exchange = Exchange(client, Request("GET", "/", "/", "", ()))
            answer = Answer(exchange, job_id="job_2", dialect=Dialect.OPENAI, headers=())
            after = min(later, job.kept_count)
            follower = Following(job, answer, Shape.EVENTS, Timing(), after=after)
            attached.append((client, exchange, after, asyncio.ensure_future(follower.run())))

        def room(writable):
            for client, exchange, _, _ in attached:
                client.writable = writable
                if writable and exchange.on_writable is not None:
                    exchange.on_writable()

        acts = {
            "add": lambda: job.add(token(len(job.pieces) + 1)),
            "take": disk.take,
            "commit": disk.commit,
            "attach": attach,
            "room": lambda: room(True),
            "full": lambda: room(False),
        }
        for step in [*steps, "attach", "add"]:
            acts[step]()
            await asyncio.sleep(0)
            for client, _, _, _ in attached:
                assert all(number <= disk.text.count(b"data: ") for number in client.numbers)
        job.finished()
        assert not job.over or job.kept_count == len(job.pieces)
        for _ in range(3):
            disk.take()
            disk.commit()
            room(True)
            await asyncio.sleep(0)
        for client, _, after, task in attached:
            await asyncio.wait_for(task, 5)
            assert client.numbers == list(range(after + 1, len(job.pieces) + 1))
            assert client.got.count(b"data: [DONE]") == 1

    asyncio.run(run())


@given(st.integers(1, 2000))
@settings(max_examples=20, deadline=None)
def test_a_long_answer_is_read_in_turns(count):
    """Whoever attaches late gets all of it, and everybody else their turn in between."""

    async def run():
        record = Record(id="job_1", key_id="", endpoint=CHAT, model="tiny", request=b"{}")
        job = Job(record, Nobody(), None)
        for number in range(count):
            job.add(token(number))
        job.finished()
        client = Client()
        exchange = Exchange(client, Request("GET", "/", "/", "", ()))
        answer = Answer(exchange, job_id="job_2", dialect=Dialect.OPENAI, headers=())
        turns = 0

        async def others():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.ensure_future(others())
        await Following(job, answer, Shape.WHOLE, Timing()).run()
        other.cancel()
        assert turns >= (count - 1) // 256
        assert f"w{count - 1} ".encode() in client.got

    asyncio.run(run())
