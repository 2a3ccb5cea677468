"""Acts of administration: serve, stop, logs, events, shutdown; of the store: `store_admin`.

Open on the admin socket (0600: this user), and to keys with the role admin. Long acts answer with
JSON lines: progress, then `done` or `error`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from msgspec import structs

from rbee.errors import RbeeError
from rbee.policy.restart import NOBODYS_CRASH
from rbee.queen.core import Core
from rbee.queen.events import matches
from rbee.queen.roster import LaneKey
from rbee.queen.routes import Visit
from rbee.settings import KEEP_ALWAYS, ModelSettings
from rbee.wire import control
from rbee.wire.openai import parse_object
from rbee.wire.problem import body as problem_body
from rbee.wire.problem import encode, from_problem

_LINES = "application/x-ndjson"
_MAX_REPLICAS = 64
_LOOK_EVERY_S = 1.0
_LATE_STARTS = 3
"""Of a worker in a row that fail through no fault of its own, before whoever waits is told."""
_AskT = TypeVar("_AskT", bound=msgspec.Struct)


class ServeAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: str
    replicas: int | None = None
    ctx: int | None = None
    parallel: int | None = None
    device: str | None = None
    fallback: bool | None = None
    trust: bool = False
    keep_alive_s: float | None = None
    wait: bool = True


class StopAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: str = ""
    worker: str = ""
    all: bool = False


class DrainAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    worker: str


class ShutdownAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    drain_s: float | None = None
    keep_workers: bool = False


async def serve(visit: Visit) -> None:
    """A lasting wish; with `wait` it answers when all replicas are ready, or with the cause."""
    ask = parsed(visit, ServeAsk)
    if ask.replicas is not None and not 1 <= ask.replicas <= _MAX_REPLICAS:
        problem = f"replicas must be between 1 and {_MAX_REPLICAS}"
        raise RbeeError("INVALID_REQUEST", problem=problem, param="replicas")
    for name in ("ctx", "parallel"):
        value = getattr(ask, name)
        if value is not None and not 0 <= value <= 1 << 24:
            raise RbeeError("INVALID_REQUEST", problem=f"{name} is out of range", param=name)
    core = visit.core
    served = core.models.find(ask.model, core.roster.models)
    if served.attached is not None:
        raise _not_ours(core.attached.of(served.name)[0].id, "load")
    how = _how(served.how, ask, served.name)
    wish = replace(served, how=how).wish("chat")
    changed = core.watch()
    try:
        core.serve(wish)
        core.models.overrides[served.name] = how
        await tell(visit, _serving(visit, wish, changed, wait=ask.wait))
    finally:
        core.unwatch(changed)


async def stop(visit: Visit) -> None:
    """End a wish and drain its workers, or stop one worker at once."""
    ask = parsed(visit, StopAsk)
    core = visit.core
    if ask.worker:
        if ask.worker not in core.roster.workers:
            raise RbeeError("WORKER_NOT_FOUND", worker=ask.worker[:100])
        if core.roster.workers[ask.worker].attached:
            raise _not_ours(ask.worker, "stop")
        await core.link.call(lambda id_: control.StopWorker(id_, ask.worker))
        visit.answer.whole(200, encode({"stopped": [ask.worker]}))
        return
    if ask.all:
        stopped = await _until_gone(visit, lambda one: True, core.rest)
    elif ask.model:
        served = core.models.find(ask.model, core.roster.models)
        if served.attached is not None:
            raise _not_ours(core.attached.of(served.name)[0].id, "stop")
        stopped = await stop_models(visit, [served.name])
    else:
        raise RbeeError("INVALID_REQUEST", problem="Name a model, a worker, or all")
    visit.answer.whole(200, encode({"stopped": stopped}))


async def resume(visit: Visit) -> None:
    """What `stop` of all sent to rest is loaded again."""
    visit.core.resume()
    visit.answer.whole(200, b'{"status":"resumed"}')


async def drain_worker(visit: Visit) -> None:
    """Another worker takes the place of this one, which ends when its answers are finished."""
    ask = parsed(visit, DrainAsk)
    core = visit.core
    if ask.worker not in core.roster.workers:
        raise RbeeError("WORKER_NOT_FOUND", worker=ask.worker[:100])
    if core.roster.workers[ask.worker].attached:
        raise _not_ours(ask.worker, "drain")
    await core.link.call(lambda id_: control.DrainWorker(id_, ask.worker))
    visit.answer.whole(200, encode({"drained": ask.worker}))


async def worker_logs(visit: Visit) -> None:
    """`/rbee/workers/ID/logs`: the last lines of its engine."""
    worker, _, what = visit.rest.partition("/")
    if what != "logs":
        raise RbeeError("ROUTE_NOT_FOUND", path=visit.exchange.request.path[:200])
    known = visit.core.roster.workers.get(worker)
    if known is not None and known.attached:
        raise _not_ours(worker, "read the log of")
    asked = parse_qs(visit.exchange.request.query).get("lines", ["100"])[0]
    lines = int(asked) if asked.isdecimal() and len(asked) < 7 else 100
    found = await visit.core.link.call(lambda id_: control.Logs(id_, worker, lines))
    visit.answer.whole(200, encode({"lines": found}))


async def events(visit: Visit) -> None:
    """Faults, oldest first; with `follow` what comes after them too."""
    query = parse_qs(visit.exchange.request.query)
    code, job = query.get("code", [""])[0], query.get("job", [""])[0]
    core = visit.core
    queue = core.events.follow()

    async def lines() -> AsyncIterator[dict[str, Any]]:
        for happened in core.events.recent(code=code, job=job):
            yield structs.asdict(happened)
        while query.get("follow", ["0"])[0] == "1":
            happened = await queue.get()
            if matches(happened, code=code, job=job):
                yield structs.asdict(happened)

    try:
        await tell(visit, lines())
    finally:
        core.events.unfollow(queue)


async def shutdown(visit: Visit) -> None:
    """Drain, end everything, go."""
    ask = parsed(visit, ShutdownAsk)
    visit.answer.whole(202, b'{"status":"stopping"}')
    visit.core.keep_workers = ask.keep_workers
    visit.core.shut_down(ask.drain_s)


async def tell(visit: Visit, lines: AsyncIterator[dict[str, Any]]) -> None:
    """JSON lines as they come; an error before the first keeps its true status."""
    exchange = visit.exchange
    begun = False
    try:
        async for line in lines:
            if not begun:
                begun = True
                exchange.start(200, [("content-type", _LINES), ("cache-control", "no-store")])
            exchange.write(encode(line) + b"\n")
    except RbeeError as error:
        if not begun:
            raise
        visit.deed["result"] = error.code
        exchange.write(encode(problem_body(error.report)) + b"\n")
    if not begun:
        exchange.start(200, [("content-type", _LINES)])
    exchange.finish()


async def _serving(
    visit: Visit, wish: control.ModelWish, changed: asyncio.Event, *, wait: bool
) -> AsyncIterator[dict[str, Any]]:
    core = visit.core
    lane = (wish.name, wish.mode)
    last: object = None
    late: set[tuple[str, int]] = set()
    while wait:
        problem = core.lanes.lane(lane).problem
        if problem is not None:
            raise RbeeError.from_report(problem)
        ready = _as_wished(visit, lane, wish)
        if len(ready) >= wish.replicas:
            break
        shown = _shown(visit, lane)
        if shown != last:
            last = shown
            yield {"workers": shown}
        await _next(core, changed)
        _raise_failure(visit, lane, late)
    yield {"done": {"workers": _shown(visit, lane)}}


def _as_wished(visit: Visit, lane: LaneKey, wish: control.ModelWish) -> list[control.WorkerView]:
    """Ready workers that run as this wish says, and not as an older one did."""
    return [
        one
        for one in visit.core.roster.serving(lane)
        if (wish.fallback or wish.device in ("auto", one.device))
        and (not wish.ctx or one.context_tokens >= wish.ctx)
        and (not wish.parallel or one.slots == wish.parallel)
    ]


def _raise_failure(visit: Visit, lane: LaneKey, late: set[tuple[str, int]]) -> None:
    """A worker that cannot be loaded ends the wait with its cause; one that was killed from outside
    is only late, unless that happens again and again (`late`: starts that failed so). The wish
    stays: the hive goes on trying where that can help."""
    for one in visit.core.roster.workers.values():
        gone = (one.model, one.mode) == lane and one.state in ("FAILED", "QUARANTINED")
        if not gone or one.problem is None or one.leaves:
            continue
        late.add((one.id, one.restarts))
        starts = sum(worker == one.id for worker, _ in late)
        if one.problem.code not in NOBODYS_CRASH or starts >= _LATE_STARTS:
            raise from_problem(one.problem)


def _shown(visit: Visit, lane: LaneKey) -> list[dict[str, Any]]:
    return [
        {"id": one.id, "state": one.state, "progress": one.progress, "device": one.device}
        for one in visit.core.roster.workers.values()
        if (one.model, one.mode) == lane
    ]


async def stop_models(visit: Visit, models: list[str]) -> list[str]:
    """Drain all workers of these models; gives their ids once they are gone."""

    def unwant() -> None:
        for name in models:
            visit.core.unwant(name)

    return await _until_gone(visit, lambda one: one.model in models, unwant)


async def _until_gone(
    visit: Visit, meant: Callable[[control.WorkerView], bool], act: Callable[[], None]
) -> list[str]:
    """Ids of the workers that are meant, once the act has made them go."""
    core = visit.core
    stopped = [one.id for one in core.roster.ours() if meant(one)]
    changed = core.watch()
    try:
        act()
        while any(one in core.roster.workers for one in stopped):
            await _next(core, changed)
    finally:
        core.unwatch(changed)
    return stopped


async def _next(core: Core, changed: asyncio.Event) -> None:
    """Wait for a change. Raises HIVE_LOST once nobody is there who could bring one."""
    changed.clear()
    while not changed.is_set():
        core.check_hive_is_there()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await changed.wait()


def _not_ours(worker: str, deed: str) -> RbeeError:
    return RbeeError("ATTACHED_NOT_OURS", worker=worker, deed=deed)


def _how(how: ModelSettings, ask: ServeAsk, name: str) -> ModelSettings:
    keep_alive_s = KEEP_ALWAYS if ask.keep_alive_s is None else ask.keep_alive_s
    said = {
        field: value
        for field in ("replicas", "ctx", "parallel", "device", "fallback")
        if (value := getattr(ask, field)) is not None
    }
    if "device" in said and "fallback" not in said:
        said["fallback"] = False
    return replace(how, name=name, keep_alive_s=keep_alive_s, trust=ask.trust, **said)


def parsed(visit: Visit, kind: type[_AskT]) -> _AskT:
    """The body as that shape. Raises INVALID_REQUEST."""
    value = parse_object(
        visit.exchange.request.body or b"{}", nesting=visit.core.settings.bounds.nesting
    )
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        raise RbeeError("INVALID_REQUEST", problem=str(exc)) from exc
