"""The wait for a slot, under virtual time: what is due happens, and a wait costs nothing."""

import asyncio

import pytest

from rbee.edge.http_request import Request
from rbee.errors import RbeeError
from rbee.policy.admission import Claim
from rbee.policy.deadline import Deadline
from rbee.queen.answer import Answer, Dialect
from rbee.queen.attempt import Call
from rbee.queen.core import Core
from rbee.queen.events import Events
from rbee.queen.job_answer import without_client
from rbee.queen.upkeep import look_at_lines
from rbee.queen.waiting import Telling, Waiting
from rbee.queen.wishes import Wishes
from rbee.settings import Limits, Settings
from rbee.wire.control import ModelView, WorkerView
from tests.simulation.virtual_time import VirtualLoop

CHAT = "/v1/chat/completions"
LANE = ("m", "chat")
REQUEST = Request("POST", CHAT, CHAT, "", ())


class Counting(VirtualLoop):
    """Counts the wake-ups that are ordered."""

    timers = 0

    def call_at(self, when, callback, *args, context=None):
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)


class Line:
    """A model with one slot, which is taken, and those who wait for it."""

    def __init__(self, tmp_path, *, state="READY"):
        settings = Settings(home=str(tmp_path), limits=Limits(queue=5000, queue_wait_s=60))
        events = Events(tmp_path / "events.jsonl")
        self.core = Core(settings, Wishes(tmp_path / "wishes.json"), events, lambda *a, **k: None)
        self.core.roster.models = (ModelView("m", "m", 1, "sha256:x", "test", 1.0),)
        self.core.roster.hive_connected = True
        self.becomes(state)

    def becomes(self, state):
        self.core.roster.put(WorkerView("w1", "h", "m", "m", "chat", state, slots=1))
        self.core.lanes.pump(LANE)

    def wait(self, deadline_s=0.0, *, streams=False):
        core, clock = self.core, self.core.clock
        answer = Answer(without_client(REQUEST), job_id="j", dialect=Dialect.OPENAI, headers=())
        call = Call("POST", CHAT, b"", "m", Deadline.after(deadline_s, clock()))
        served = core.models.find("m", core.roster.models)
        telling = Telling(core, answer, streams=streams)
        waiting = Waiting(core, served, LANE, call, Claim(), telling)
        return asyncio.ensure_future(waiting.lease([], again=False))


def in_virtual_time(tmp_path, body, **how):
    loop = Counting()

    async def run():
        line = Line(tmp_path, **how)
        try:
            await body(line, loop)
        finally:
            line.core.events.close()

    try:
        loop.run(run())
    finally:
        loop.close()


async def refused(task, code):
    with pytest.raises(RbeeError) as caught:
        await task
    assert caught.value.code == code


@pytest.mark.parametrize(("streams", "most"), [(False, 1), (True, 5)])
def test_ten_thousand_in_line_cost_the_loop_nothing(tmp_path, streams, most):
    """Each orders one wake-up, and one more for each word that its client is told; then each gets
    its slot in its turn."""

    async def body(line, loop):
        first = await line.wait()
        waiting = [line.wait(streams=streams) for _ in range(1000)]
        await loop.reach(50)
        assert loop.timers <= 1000 * most + 10

        line.core.lanes.release(first, served=True)
        for task in waiting:
            line.core.lanes.release(await asyncio.wait_for(task, 1), served=True)

    in_virtual_time(tmp_path, body)


def test_patience_and_deadline_end_when_they_end(tmp_path):
    """To the millisecond, and the shorter of the two counts."""

    async def body(line, loop):
        await line.wait()
        hurried, patient = line.wait(7.5), line.wait(90)
        await refused(hurried, "DEADLINE_EXCEEDED")
        assert loop.time() == pytest.approx(7.5, abs=0.002)
        await refused(patient, "QUEUE_TIMEOUT")
        assert loop.time() == pytest.approx(60, abs=0.002)

    in_virtual_time(tmp_path, body)


def test_loading_is_no_waiting(tmp_path):
    """Patience begins once there is somebody to wait for."""

    async def body(line, loop):
        tasks = [line.wait(), line.wait()]
        await loop.reach(500)
        line.becomes("READY")
        await tasks[0]
        await refused(tasks[1], "QUEUE_TIMEOUT")
        assert loop.time() == pytest.approx(560, abs=0.002)

    in_virtual_time(tmp_path, body, state="LOADING")


def test_nobody_waits_for_a_hive_that_is_given_up(tmp_path):
    """Whoever came while it was away knows when that is; others are told by who looks after all."""

    async def body(line, loop):
        early = line.wait()
        await loop.reach(10)
        line.core._lose_hive()
        late = line.wait()
        await refused(late, "HIVE_LOST")
        assert loop.time() == pytest.approx(40, abs=0.002)
        assert not early.done()
        look_at_lines(line.core)
        await refused(early, "HIVE_LOST")

    in_virtual_time(tmp_path, body, state="LOADING")


def test_a_hive_that_is_away_is_nothing_to_those_whose_model_serves(tmp_path):
    """They wait for a slot, without a wake-up for it."""

    async def body(line, loop):
        line.core._lose_hive()
        first = await line.wait()
        second = line.wait()
        await loop.reach(50)
        look_at_lines(line.core)
        assert loop.timers < 10
        line.core.lanes.release(first, served=True)
        await second

    in_virtual_time(tmp_path, body)
