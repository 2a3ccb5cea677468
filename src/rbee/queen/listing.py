"""Routes that only look: models, health, metrics, the description of the API."""

from __future__ import annotations

import os
from typing import Any

from rbee.errors import RbeeError
from rbee.queen.metrics import render
from rbee.queen.openapi import document
from rbee.queen.routes import Visit
from rbee.queen.served_models import listing as entries
from rbee.queen.state_view import ps, status
from rbee.wire.problem import encode

_PLAIN = "text/plain; charset=utf-8"


async def models(visit: Visit) -> None:
    """`/v1/models`: all that can be asked for, loaded or not; nothing is loaded for it."""
    data = _entries(visit)
    shown = [{"name": entry["id"], "model": entry["id"]} for entry in data]
    visit.answer.whole(200, encode({"object": "list", "data": data, "models": shown}))


async def model(visit: Visit) -> None:
    """`/v1/models/{id}`; ids may hold `/` and `:`."""
    core = visit.core
    core.models.find(visit.rest, core.roster.models)
    for entry in _entries(visit):
        if entry["id"] == visit.rest:
            visit.answer.whole(200, encode(entry))
            return
    raise RbeeError("MODEL_NOT_FOUND", model=visit.rest[:200], nearest=[])


async def health(visit: Visit) -> None:
    """Alive: the loop turns."""
    visit.answer.whole(200, b'{"status":"ok"}')


async def ready(visit: Visit) -> None:
    """Able to serve: the machine's part of rbee is there."""
    core = visit.core
    if not core.roster.hive_connected:
        raise core.link.mismatch or RbeeError("HIVE_LOST")
    visit.answer.whole(200, b'{"status":"ready"}')


async def metrics(visit: Visit) -> None:
    visit.answer.whole(200, render(visit.core), "text/plain; version=0.0.4; charset=utf-8")


async def openapi(visit: Visit) -> None:
    visit.answer.whole(200, encode(document()))


async def root(visit: Visit) -> None:
    visit.answer.whole(200, b"rbee is running. GET /v1/models, /health, /openapi.json\n", _PLAIN)


async def rbee_status(visit: Visit) -> None:
    found = status(visit.core, os.getpid(), full=visit.exchange.request.admin)
    visit.answer.whole(200, encode(found))


async def rbee_ps(visit: Visit) -> None:
    visit.answer.whole(200, encode(ps(visit.core, os.getpid())))


async def rbee_models(visit: Visit) -> None:
    from msgspec import structs

    shown: list[dict[str, Any]] = []
    for view in visit.core.roster.models:
        entry = structs.asdict(view)
        if not visit.exchange.request.admin:
            entry.pop("path")
            if view.source.startswith(("file:", "/")):
                entry.update(source="file", ref=view.name)
        shown.append(entry)
    visit.answer.whole(200, encode({"models": shown}))


def _entries(visit: Visit) -> list[dict[str, Any]]:
    core = visit.core
    found = []
    for served in core.models.all(core.roster.models):
        servers = [
            {"worker": one.id, "state": one.state, "problem": one.problem and one.problem.code}
            for one in core.attached.of(served.name)
        ]
        more = {"rbee": {"attached": servers}} if servers else {}
        found += [{**entry, **more} for entry in entries(served)]
    return found
