"""Acts of administration that wait for the hive."""

import asyncio
import json
import time

import pytest

from rbee.settings import Timing
from rbee.wire.keys import KeyAsk
from tests.queen.stage import HEAD, MODEL, Engine, hold, stage


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
