"""Acts on the store of models: pull, verify, import, remove, pin, prune, and what lies there.

Open on the admin socket only (0600: this user). Long acts answer with JSON lines: progress, then
`done` or `error`; a hang-up stops them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import structs

from rbee.queen.admin import parsed, stop_models, tell
from rbee.queen.hive_link import CallMaker
from rbee.queen.routes import Visit
from rbee.wire import control
from rbee.wire.problem import encode


class NameAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class ImportAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    what: str
    """`ollama`, `huggingface`, `lmstudio`, each with `=FOLDER` if need be; or an absolute path."""


class PinAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    pinned: bool


class PruneAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keep_bytes: int
    remove: bool = False


async def pull(visit: Visit) -> None:
    """Have a model in the store."""
    ask = parsed(visit, NameAsk)
    await _long(visit, lambda id_: control.Pull(id_, ask.name))


async def verify(visit: Visit) -> None:
    """Read a stored model again, and mend it if it is damaged."""
    ask = parsed(visit, NameAsk)
    core = visit.core
    served = core.models.any_version(ask.name, core.roster.models)
    await _long(visit, lambda id_: control.Verify(id_, served.ref))


async def import_from(visit: Visit) -> None:
    """Link what another program holds."""
    ask = parsed(visit, ImportAsk)
    await _long(visit, lambda id_: control.Import(id_, ask.what))


async def remove(visit: Visit) -> None:
    """Remove a stored model; its workers drain first. `sha256:…` removes a file without a name."""
    ask = parsed(visit, NameAsk)
    core = visit.core
    if ask.name.startswith("sha256:"):
        removed = await core.link.call(lambda id_: control.Remove(id_, ask.name))
        visit.answer.whole(200, encode({"removed": removed}))
        return
    served = core.models.any_version(ask.name, core.roster.models)
    users = {one.model for one in core.roster.workers.values() if one.ref == served.ref}
    await stop_models(visit, sorted({served.name, *users}))
    await core.link.call(lambda id_: control.Remove(id_, served.ref))
    visit.answer.whole(200, encode({"removed": served.ref}))


async def pin(visit: Visit) -> None:
    """Have a model never pruned, or again."""
    ask = parsed(visit, PinAsk)
    core = visit.core
    served = core.models.any_version(ask.name, core.roster.models)
    found = await core.link.call(lambda id_: control.Pin(id_, served.ref, ask.pinned))
    visit.answer.whole(200, encode(found))


async def prune(visit: Visit) -> None:
    """Bring the store down to a size. Models of the TOML and lasting wishes are never removed."""
    ask = parsed(visit, PruneAsk)
    core = visit.core
    blocks = core.settings.models.values()
    declared = {name for block in blocks for name in (block.name, *block.source)}
    declared |= {name for wish in core.wishes.all() for name in (wish.name, wish.ref)}
    found = await core.link.call(
        lambda id_: control.Prune(id_, ask.keep_bytes, ask.remove, tuple(sorted(declared)))
    )
    visit.answer.whole(200, encode(found))


async def stock(visit: Visit) -> None:
    """What lies in the store beside its models."""
    visit.answer.whole(200, encode(await visit.core.link.call(control.TakeStock)))


async def outdated(visit: Visit) -> None:
    """What the sources of stored models have now."""
    found = await visit.core.link.call(control.Outdated)
    visit.answer.whole(200, encode({"models": found}))


async def _long(visit: Visit, make: CallMaker) -> None:
    """A call that takes time, with its progress as lines."""
    news: asyncio.Queue[control.Progress] = asyncio.Queue(maxsize=64)

    def heard(progress: control.Progress) -> None:
        if news.full():
            news.get_nowait()
        news.put_nowait(progress)

    call = asyncio.ensure_future(visit.core.link.call(make, on_progress=heard))

    async def lines() -> AsyncIterator[dict[str, Any]]:
        while not call.done() or not news.empty():
            waiting = asyncio.ensure_future(news.get())
            await asyncio.wait({call, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                said = structs.asdict(waiting.result())
                said.pop("call")
                yield {"progress": said}
            waiting.cancel()
        yield {"done": call.result()}

    try:
        await tell(visit, lines())
    finally:
        call.cancel()
