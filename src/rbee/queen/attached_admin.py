"""`rbee workers attach` and `detach`: a server of somebody else joins the pool, or leaves it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

import msgspec
from msgspec import structs

from rbee.errors import RbeeError
from rbee.policy.access import is_loopback
from rbee.queen.admin import parsed
from rbee.queen.attached import new_wish
from rbee.queen.attached_look import look_at
from rbee.queen.core import Core
from rbee.queen.routes import Visit
from rbee.wire.attached import Address, Attachment, choose, parse_address
from rbee.wire.problem import encode

_MOST_SLOTS = 1024
_MOST_TOKENS = 1 << 24
_NAME_CHARACTERS = 1100


class AttachAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    model: str = ""
    key_env: str = ""
    key_file: str = ""
    ctx: int = 0
    slots: int = 0


class DetachAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    worker: str


async def attach(visit: Visit) -> None:
    """It is looked at first: what cannot be used is refused with the reason, and not kept."""
    ask = parsed(visit, AttachAsk)
    core = visit.core
    _check(ask)
    if (ask.key_env or ask.key_file) and not visit.exchange.request.admin:
        problem = "a key can be named on the machine of rbee alone: it could be any secret there"
        raise RbeeError("INVALID_REQUEST", problem=problem, param="key_env")
    address = parse_address(ask.url)
    if _is_us(core, address):
        raise RbeeError("INVALID_REQUEST", problem="that is this rbee itself", param="url")
    wish = new_wish(
        core.attached.next_id(),
        host=address.host,
        port=address.port,
        base=address.base,
        tls=address.tls,
        model="",
        theirs="",
        key_env=ask.key_env,
        key_file=ask.key_file,
        ctx=ask.ctx,
        slots=ask.slots,
    )
    look = await look_at(core.client, wish, core.settings.timing)
    if look.error is not None:
        raise look.error
    ours, theirs = choose(look.listed, ask.model)
    # Another may have come meanwhile: the number is taken now.
    wish = structs.replace(wish, id=core.attached.next_id(), model=ours, theirs=theirs)
    foreign = next(one for one in look.listed if one.name == theirs)
    view = core.attached.put(wish, replace(look, foreign=foreign))
    visit.answer.whole(200, encode({"worker": view.id, **_told(wish, view.context_tokens)}))


async def detach(visit: Visit) -> None:
    """By its id or its address; the wish ends, and what runs on it ends by itself."""
    ask = parsed(visit, DetachAsk)
    core = visit.core
    known = core.roster.workers.get(ask.worker)
    if known is not None and not known.attached:
        problem = f"{ask.worker} is a worker of rbee's own: rbee workers shutdown ends it"
        raise RbeeError("INVALID_REQUEST", problem=problem, param="worker")
    name = parse_address(ask.worker).address if "://" in ask.worker else ask.worker
    visit.answer.whole(200, encode({"detached": core.attached.drop(name)}))


def _check(ask: AttachAsk) -> None:
    if not 0 <= ask.slots <= _MOST_SLOTS or not 0 <= ask.ctx <= _MOST_TOKENS:
        raise RbeeError("INVALID_REQUEST", problem="slots or ctx is out of range", param="slots")
    if ask.key_env and ask.key_file:
        raise RbeeError("INVALID_REQUEST", problem="name one place for the key", param="key_env")
    if len(ask.model) > _NAME_CHARACTERS or not ask.model.isprintable():
        raise RbeeError("INVALID_REQUEST", problem="this is no name of a model", param="model")


def _is_us(core: Core, address: Address) -> bool:
    """Asking ourselves would have no end."""
    here = urlsplit(core.url)
    near = is_loopback(address.host) or address.host == here.hostname
    return near and address.port == here.port


def _told(wish: Attachment, context_tokens: int) -> dict[str, object]:
    return {
        "model": wish.model,
        "theirs": wish.theirs,
        "address": wish.address,
        "context_tokens": context_tokens,
    }
