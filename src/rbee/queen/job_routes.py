"""The routes of jobs, and the plain routes for requests that are to be run once.

A request with an `Idempotency-Key` is a job that its client is attached to from the start. So is
the request of an SDK that would ask again (it says so in `x-stainless-retry-count`) and asks for no
stream: such a job is not in the journal and ends with its client, unless that only timed out.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import msgspec

from rbee.errors import RbeeError
from rbee.policy.attaching import read_timeout_s, repeats
from rbee.policy.keys import Caller
from rbee.queen import inference
from rbee.queen.allowance import Place
from rbee.queen.answer import Dialect
from rbee.queen.attempt import Call
from rbee.queen.claims import claim_of
from rbee.queen.core import Core
from rbee.queen.following import Following, Shape, Whole
from rbee.queen.job import Job
from rbee.queen.job_answer import JobAnswer, without_client
from rbee.queen.jobs import new_id, request_of
from rbee.queen.reading import hash_of, read_ask, read_object
from rbee.queen.routes import Handler, Visit
from rbee.wire import jobs as wire
from rbee.wire import problem
from rbee.wire.keys import INFER
from rbee.wire.openai import Ask
from rbee.wire.problem import encode

_RETRY_COUNT = "x-stainless-retry-count"
_AGAIN_S = 0.5
_SLICE = 256
"""Events that are put together in one turn of the loop."""


async def create(visit: Visit) -> None:
    """`POST /v1/jobs`: 202 once the journal has it. What is refused at the door has its status."""
    body = visit.exchange.request.body
    value = await read_object(body, nesting=visit.core.settings.bounds.nesting)
    asked = wire.parse_job_ask(value)
    await visit.core.jobs.ready()
    key, hashed = _key(visit), await hash_of("/v1/jobs", body)
    ask = await _ask(visit, encode(asked.request))
    job = _known(visit, key, hashed)
    if job is None:
        record = _record(visit, ask, asked.endpoint, asked.on_disconnect, key, hashed)
        job = await _made(visit, record)
        # One turn of the loop: its work has asked for a slot.
        await asyncio.sleep(0)
        if job.error is not None:
            raise job.error
    visit.answer.name_job(job.id)
    visit.answer.whole(202, encode(_view(visit.core, job)))


async def every(visit: Visit) -> None:
    """`GET /v1/jobs`: those of this caller, the oldest first."""
    found = [_view(visit.core, job) for job in visit.core.jobs.listed(visit.caller)]
    visit.answer.whole(200, encode({"object": "list", "data": found}))


async def one(visit: Visit) -> None:
    """`GET /v1/jobs/{id}`, with its answer as far as it has come, and `…/stream`."""
    id_, _, what = visit.rest.partition("/")
    if what not in ("", "stream"):
        raise RbeeError("ROUTE_NOT_FOUND", path=visit.exchange.request.path[:200])
    job = visit.core.jobs.find(id_, visit.caller)
    if what == "stream":
        await _follow(visit, job)
        return
    found, count, done = _view(visit.core, job), job.kept_count, job.status == "done"
    whole = Whole(job, count)
    while whole.read(_SLICE):
        await asyncio.sleep(0)
    await _counted(job, count)
    result = whole.result() if count else None
    found |= {"last_event_id": job.event_id(count) if count else ""}
    found |= {"result": result if done else None, "partial": None if done else result}
    visit.answer.whole(200, encode(found))


async def cancel(visit: Visit) -> None:
    """`DELETE /v1/jobs/{id}`: it ends now; said twice, or too late, nothing changes."""
    visit.core.jobs.find(visit.rest, visit.caller).cancel()
    visit.answer.whole(204, b"")


def once(plain: Handler, *, journalled: bool = False) -> Handler:
    """A plain route that runs a request once, however often it is sent. `journalled`: its answers
    can be followed, so that it takes an Idempotency-Key."""

    async def handler(visit: Visit) -> None:
        request = visit.exchange.request
        if journalled and request.header("idempotency-key") is not None:
            await _idempotent(visit)
        elif request.header(_RETRY_COUNT) is not None and b'"stream"' not in request.body:
            await _repeatable(visit, plain)
        else:
            await plain(visit)

    return handler


async def go_on(core: Core, job: Job) -> None:
    """The work of a job that an earlier life of the queen began."""
    caller = Caller(job.record.key_id, (INFER,))
    while await _work(core, caller, inference.chat, Dialect.OPENAI, None, job, accepted=True):
        await asyncio.sleep(_AGAIN_S)


async def _idempotent(visit: Visit) -> None:
    request = visit.exchange.request
    key, hashed = _key(visit), await hash_of(request.path, request.body)
    ask = await _ask(visit, request.body)
    visit.answer.streams = ask.stream
    await visit.core.jobs.ready()
    job = _known(visit, key, hashed)
    if job is None:
        record = _record(visit, ask, request.path, wire.CONTINUE, key, hashed)
        job = _make(visit, record, lambda error: None)
    shape = Shape.WHOLE
    if ask.stream:
        shape = Shape.STREAM_WITH_USAGE if ask.wants_usage else Shape.STREAM
    await Following(job, visit.answer, shape, visit.core.settings.timing).run()


async def _repeatable(visit: Visit, plain: Handler) -> None:
    request = visit.exchange.request
    hashed = await hash_of(request.path, request.body)
    jobs, caller = visit.core.jobs, visit.caller
    again = repeats(request.header(_RETRY_COUNT))
    job = jobs.repeated(caller, hashed) if again else None
    if job is None:
        record = wire.Record(
            id=new_id(),
            key_id=caller.key_id,
            endpoint=request.path,
            model="",
            request=msgspec.Raw(request.body),
            headers=request.headers,
            on_disconnect=wire.CANCEL,
            body_hash=hashed,
            made_at=time.time(),
        )
        run = partial(_work, visit.core, caller, plain, visit.answer.dialect, None)
        job = jobs.make(record, run, journalled=False, on_made=lambda error: None)
    job.client_timeout_s = read_timeout_s(
        request.header("x-stainless-read-timeout") or request.header("x-stainless-timeout")
    )
    await Following(job, visit.answer, Shape.WHOLE, visit.core.settings.timing).run()


async def _follow(visit: Visit, job: Job) -> None:
    """`GET /v1/jobs/{id}/stream`, from the event after `Last-Event-ID` on."""
    query = parse_qs(visit.exchange.request.query).get("last_event_id", [""])[0]
    after = 0
    if last := visit.header("last-event-id") or query:
        after, crc = wire.parse_event_id(last)
        await _counted(job, min(after, job.kept_count))
        if after > job.kept_count or crc != job.crc(after):
            raise RbeeError("ATTACH_DIVERGED", job=job.id, event=last[:40])
    visit.answer.streams = visit.answer.typed_events = True
    timing = visit.core.settings.timing
    await Following(job, visit.answer, Shape.EVENTS, timing, after=after).run()


async def _counted(job: Job, number: int) -> None:
    """Know the crc of the text after so many events; a long text is not one turn of the loop."""
    for upto in range(_SLICE, number, _SLICE):
        job.crc(upto)
        await asyncio.sleep(0)


async def _work(
    core: Core,
    caller: Caller,
    handler: Handler,
    dialect: Dialect,
    place: Place | None,
    job: Job,
    *,
    accepted: bool = False,
) -> bool:
    """Run the request of a job through the handler of its route; `place` is what it takes of its
    key's limits, if that is known already. True: it was `accepted` before, and is to be run again
    when there is a place in line."""
    request = request_of(job.record)
    exchange = without_client(request)
    event_bytes = core.settings.bounds.event_bytes
    answer = JobAnswer(job, exchange, dialect, event_bytes, accepted=accepted)
    answer.place = place
    try:
        await handler(Visit(core, exchange, answer, "", caller))
    finally:
        if answer.place is not None:
            answer.place.leave(core.clock(), served=answer.delivered)
    return answer.turned_away


async def _made(visit: Visit, record: wire.Record) -> Job:
    """A new job, once the journal has it. Raises what keeps it from that."""
    made: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def told(error: RbeeError | None) -> None:
        if made.done():
            return
        if error is None:
            made.set_result(None)
        else:
            made.set_exception(error)

    job = _make(visit, record, told)
    await made
    return job


def _make(visit: Visit, record: wire.Record, told: Callable[[RbeeError | None], None]) -> Job:
    core, place = visit.core, visit.answer.place
    caller = Caller(visit.caller.key_id, visit.caller.roles)
    run = partial(_work, core, caller, inference.chat, Dialect.OPENAI, place)

    def made(error: RbeeError | None) -> None:
        if error is not None and place is not None:
            place.leave(core.clock(), served=False)
        told(error)

    job = core.jobs.make(record, run, journalled=True, on_made=made)
    # It is the job's now, which may outlive this visit.
    visit.answer.place = None
    return job


def _known(visit: Visit, key: str, hashed: str) -> Job | None:
    return visit.core.jobs.known(visit.caller, key, hashed) if key else None


def _key(visit: Visit) -> str:
    header = visit.header("idempotency-key")
    return wire.checked_key(header) if header is not None else ""


async def _ask(visit: Visit, body: bytes) -> Ask:
    return await read_ask(visit.core, body, timeout_header=visit.header("x-request-timeout"))


def _record(
    visit: Visit, ask: Ask, endpoint: str, on_disconnect: str, key: str, hashed: str
) -> wire.Record:
    """What is kept of a request: its body with a seed, as a stream with its usage, so that its
    answer can be followed and taken up. Raises MODEL_NOT_FOUND, INVALID_REQUEST, RATE_LIMITED."""
    core = visit.core
    served = core.models.find(ask.model, core.roster.models)
    claim_of(visit, ask, Call("POST", endpoint, b"", served.name, None))
    visit.enter(ask.body)
    seed = secrets.randbits(31) if ask.seed is None else ask.seed
    options = {**(ask.body.get("stream_options") or {}), "include_usage": True}
    body = {**ask.body, "model": ask.model, "seed": seed}
    body |= {"stream": True, "stream_options": options}
    limit_s = ask.timeout_s or core.settings.limits.total_s
    now = time.time()
    headers = [(name, visit.header(name) or "") for name in wire.KEPT_HEADERS if visit.header(name)]
    return wire.Record(
        id=new_id(),
        key_id=visit.caller.key_id,
        endpoint=endpoint,
        model=served.name,
        request=msgspec.Raw(encode(body)),
        headers=tuple(headers),
        on_disconnect=on_disconnect,
        idempotency_key=key,
        body_hash=hashed,
        made_at=now,
        deadline_at=now + limit_s if limit_s else 0.0,
    )


def _view(core: Core, job: Job) -> dict[str, Any]:
    error = None
    if job.error is not None:
        error = problem.body(job.error.report, job_id=job.id, attempts=job.attempts)["error"]
    waits = dict(job.waits) if job.life.active else {}
    if job.status == "queued" and "position" not in waits:
        waits["position"] = core.lanes.waiting().get(job.record.model, 0)
    return wire.view(
        job.record,
        status=job.status,
        waits=waits,
        outcome=job.outcome,
        error=error,
        attempts=job.attempts,
        splices=job.splices,
    )
