"""Promises of `worker.lifeline`, against a hive's end on a real socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rbee.wire import lifeline as wire
from rbee.worker.lifeline import Lifeline
from tests.eventually import soon
from tests.worker_run import HiveEnd

HELLO = wire.WorkerHello("w1", 1, "0")


class Owner:
    """What a supervisor would be told."""

    def __init__(self, path: Path, orphan_s: float) -> None:
        self.stops = 0
        self.orphaned = 0
        self.lifeline = Lifeline(
            path,
            orphan_s,
            standing=lambda: [HELLO],
            on_stop=self._stop,
            on_orphaned=self._orphaned,
        )

    def _stop(self) -> None:
        self.stops += 1

    def _orphaned(self) -> None:
        self.orphaned += 1


def test_a_worker_that_never_finds_a_hive_is_an_orphan(tmp_path: Path) -> None:
    """Told once, after `orphan_s`."""
    owner = Owner(tmp_path / "none.sock", 0.1)
    asyncio.run(asyncio.wait_for(owner.lifeline.keep(), 5))
    assert owner.orphaned == 1


def test_hello_comes_first_on_each_connection(tmp_path: Path) -> None:
    """A hive that was restarted learns everything anew."""

    async def scene() -> None:
        path = tmp_path / "hive.sock"
        owner = Owner(path, 20.0)
        first = HiveEnd(path)
        keeping = asyncio.ensure_future(owner.lifeline.keep())
        await soon(lambda: first.messages)
        first.close()
        second = HiveEnd(path)
        await soon(lambda: second.messages)
        assert first.messages == second.messages == [HELLO]
        assert owner.orphaned == 0
        keeping.cancel()
        second.close()

    asyncio.run(scene())


def test_stop_is_heard_and_noise_is_not(tmp_path: Path) -> None:
    """A line of a newer hive that nobody here understands changes nothing."""

    async def scene() -> None:
        path = tmp_path / "hive.sock"
        owner = Owner(path, 20.0)
        hive = HiveEnd(path)
        keeping = asyncio.ensure_future(owner.lifeline.keep())
        await soon(lambda: hive.messages)
        hive.connections[0].sendall(b'{"type":"dance"}\nnoise\n\n')
        hive.stop()
        await soon(lambda: owner.stops)
        assert owner.stops == 1
        keeping.cancel()
        hive.close()

    asyncio.run(scene())


def test_what_is_said_without_a_hive_is_not_kept(tmp_path: Path) -> None:
    """Progress of minutes ago is no news; `standing` tells what holds."""

    async def scene() -> None:
        path = tmp_path / "hive.sock"
        owner = Owner(path, 20.0)
        owner.lifeline.say(wire.Loading(0.5))
        hive = HiveEnd(path)
        keeping = asyncio.ensure_future(owner.lifeline.keep())
        await owner.lifeline.connected(5.0)
        owner.lifeline.say(wire.Loading(0.7))
        await soon(lambda: len(hive.messages) == 2)
        assert hive.messages == [HELLO, wire.Loading(0.7)]
        keeping.cancel()
        hive.close()

    asyncio.run(scene())
