"""Acts of administration that wait for the hive."""

import asyncio
import json
import time

import pytest

from rbee.settings import Timing
from rbee.wire import control
from rbee.wire.keys import KeyAsk
from tests.eventually import soon
from tests.queen.stage import HEAD, MODEL, Engine, hold, stage
from tests.queen.test_core import met, view


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rbee/serve", {"model": MODEL, "replicas": 2}),
        ("/rbee/stop", {"model": MODEL}),
        ("/rbee/stop", {"all": True}),
        ("/rbee/stop", {"worker": "w1"}),
        ("/rbee/workers/drain", {"worker": "w1"}),
    ],
)
def test_who_waits_for_a_hive_that_never_returns_is_told(tmp_path, path, body):
    """HIVE_LOST, once one that is started again would long be there; not a wait without end."""

    async def run():
        timing = Timing(worker_start_s=0.2)
        async with stage(tmp_path, timing=timing) as here, Engine(hold(HEAD)).running() as engine:
            here.worker(engine)
            made = here.core.keys.create(KeyAsk(roles=("admin",)), time.time())
            headers = {"authorization": f"Bearer {made.key}"}
            answer = await here.client.post(path, json=body, headers=headers, timeout=10)

            *_, last = answer.text.splitlines()
            assert json.loads(last)["error"]["code"] == "HIVE_LOST"

    asyncio.run(run())


def test_a_worker_that_is_late_again_and_again_is_told(tmp_path):
    """A port that stays taken ends the wait at the third start, not never."""
    taken = control.Problem("PORT_TAKEN", "The port is taken", status=503, retry="elsewhere")

    async def run():
        async with met(tmp_path) as (here, hive):
            made = here.core.keys.create(KeyAsk(roles=("admin",)), time.time())
            headers = {"authorization": f"Bearer {made.key}"}
            asked = asyncio.ensure_future(
                here.client.post("/rbee/serve", json={"model": MODEL}, headers=headers, timeout=10)
            )
            await hive.hear(control.Want)
            for restarts in range(3):
                assert not asked.done()
                late = view("FAILED", problem=taken, restarts=restarts)
                hive.say(control.WorkerChanged(late))
                await soon(lambda late=late: here.core.roster.workers.get("w1") == late)
            answer = await asked

            *_, last = answer.text.splitlines()
            assert json.loads(last)["error"]["code"] == "PORT_TAKEN"

    asyncio.run(run())
