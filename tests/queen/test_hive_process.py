"""The queen's side of the hive's process: who is waited for, and who is not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rbee.edge.home import Home
from rbee.edge.process_table import has_ended, start_time
from rbee.queen.hive_process import HiveProcess, running_hive
from tests.eventually import soon


@pytest.mark.parametrize("frozen", [True, False])
def test_an_earlier_hive_that_hangs_is_ended(tmp_path: Path, frozen: bool) -> None:
    """Nobody could take its place while it holds its lock; one that dials in is left alone."""
    home = Home(tmp_path)
    home.prepare()
    earlier = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    said = {"pid": earlier.pid, "start_time": start_time(earlier.pid)}
    home.hive_file.write_bytes(msgspec.json.encode(said))

    async def run() -> None:
        hive = HiveProcess(
            home, restart_s=0.1, restart_cap_s=1, on_death=lambda _: hive.leave(), met_within_s=0.3
        )
        met = asyncio.Event()
        if frozen:
            os.kill(earlier.pid, signal.SIGSTOP)
        else:
            met.set()
        keeping = asyncio.create_task(hive.keep(met))
        if frozen:
            await soon(lambda: has_ended(earlier.pid))
        else:
            await asyncio.sleep(0)
            assert running_hive(home) == earlier.pid
            hive.leave()
        await keeping

    try:
        asyncio.run(run())
        assert has_ended(earlier.pid) is frozen
    finally:
        earlier.kill()
        earlier.wait()
