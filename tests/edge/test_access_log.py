"""Promises about the lines of requests."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import BinaryIO

from rbee.edge.access_log import AccessLog
from rbee.edge.logs import Log
from tests.eventually import soon

SAID = ("job_1", "mine", "tiny", "/v1/embeddings", "ok", "k1")


def test_a_line_has_the_form_of_all_others(capsys) -> None:
    """Whoever reads the log need not know that these lines are made elsewhere."""

    async def run() -> None:
        out = io.BytesIO()
        log = AccessLog("queen", out)
        log.add(*SAID)
        log.write()
        ours = json.loads(out.getvalue())
        names = ("job", "request", "model", "path", "code", "caller")
        Log("queen").info("request", **dict(zip(names, SAID)))
        theirs = json.loads(capsys.readouterr().err)
        assert len(ours.pop("timestamp")) == len(theirs.pop("timestamp"))
        assert ours == theirs

    asyncio.run(run())


def test_an_id_that_no_client_chose_is_left_out() -> None:
    """The job's id is enough to find a request."""

    async def run() -> None:
        out = io.BytesIO()
        log = AccessLog("queen", out)
        log.add("job_1", "", "tiny", "/v1/embeddings", "ok", "k1")
        log.write()
        assert "request" not in json.loads(out.getvalue())

    asyncio.run(run())


def test_a_line_is_written_soon_without_being_asked(tmp_path: Path) -> None:
    """Lines wait for others, and not for long."""

    async def run() -> None:
        with (tmp_path / "log").open("wb") as out:
            log = AccessLog("queen", out)
            log.add(*SAID)
            log.add(*SAID)
            await soon(lambda: len((tmp_path / "log").read_bytes().splitlines()) == 2)

    asyncio.run(run())


def test_many_lines_are_not_kept() -> None:
    """What waits is bounded: a burst is written before its time."""

    async def run() -> None:
        out = io.BytesIO()
        log = AccessLog("queen", out)
        for _ in range(1000):
            log.add(*SAID)
        assert out.getvalue().count(b"\n") > 500
        log.write()
        assert out.getvalue().count(b"\n") == 1000

    asyncio.run(run())


def test_a_full_disk_takes_nobody_down() -> None:
    """A request ends well though its line cannot be written."""

    async def run(out: BinaryIO) -> None:
        log = AccessLog("queen", out)
        log.add(*SAID)
        log.write()

    with open("/dev/full", "wb", buffering=0) as out:
        asyncio.run(run(out))
