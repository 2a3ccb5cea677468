"""A request for one version is answered by a worker that loaded that version, or not at all."""

import asyncio
from contextlib import AsyncExitStack

from msgspec import structs

from tests.queen.stage import MODEL, WHOLE, Engine, say, stage


def with_workers(tmp_path, body, *digests):
    """Run `body(stage, engines)` with a serving worker for each digest."""

    async def run():
        async with AsyncExitStack() as stack:
            engines = [
                await stack.enter_async_context(Engine(say(WHOLE)).running()) for _ in digests
            ]
            here = await stack.enter_async_context(stage(tmp_path))
            for number, (engine, digest) in enumerate(zip(engines, digests, strict=True), 1):
                here.worker(engine, f"w{number}")
                roster = here.core.roster
                roster.put(structs.replace(roster.workers[f"w{number}"], digest=digest))
            await body(here, engines)

    asyncio.run(run())


def test_the_worker_of_that_version_answers(tmp_path):
    """While two versions serve side by side, each pinned request goes to its own."""

    async def body(here, engines):
        for _ in range(3):
            answer = await here.chat(model=f"{MODEL}@sha256:x")
            assert answer.status_code == 200, answer.text
        assert [len(engine.asked) for engine in engines] == [0, 3]

    with_workers(tmp_path, body, "sha256:old", "sha256:x")


def test_a_worker_of_another_version_never_answers(tmp_path):
    """Refused with both digests; its slot is free again, and an unpinned request is served."""

    async def body(here, engines):
        answer = await here.chat(model=f"{MODEL}@sha256:x")
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "MODEL_VERSION_MISMATCH"
        assert answer.json()["error"]["details"]["found"] == "sha256:old"
        assert engines[0].asked == [] and not here.core.roster.busy.get("w1")
        assert (await here.chat()).status_code == 200

    with_workers(tmp_path, body, "sha256:old")


def test_a_version_that_is_not_stored_is_refused_at_once(tmp_path):
    """No worker is asked, none is started."""

    async def body(here, engines):
        answer = await here.chat(model=f"{MODEL}@sha256:y")
        assert answer.json()["error"]["code"] == "MODEL_VERSION_MISMATCH"
        assert engines[0].asked == []

    with_workers(tmp_path, body, "sha256:x")
