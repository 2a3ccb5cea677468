"""Acts of administration on keys: list, create, revoke. What they open is `policy/keys`."""

from __future__ import annotations

import time

import msgspec

from rbee.policy.keys import state
from rbee.queen.admin import parsed
from rbee.queen.routes import Visit
from rbee.wire.keys import KeyAsk, shown
from rbee.wire.problem import encode


class RevokeAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    forget: bool = False


async def listing(visit: Visit) -> None:
    """All keys, oldest first, without their secrets."""
    now = time.time()
    found = [shown(one, state(one, now)) for one in visit.core.keys.records.values()]
    visit.answer.whole(200, encode({"keys": found}))


async def create(visit: Visit) -> None:
    """A new key; this answer is the only place where it is ever told."""
    core, now = visit.core, time.time()
    made = core.keys.create(parsed(visit, KeyAsk), now)
    visit.deed["made"] = made.record.id
    core.note("key_created", made=made.record.id, by=visit.caller.key_id)
    visit.answer.extra_header("cache-control", "no-store")
    visit.answer.whole(
        200, encode({**shown(made.record, state(made.record, now)), "key": made.key})
    )


async def revoke(visit: Visit) -> None:
    """It opens nothing from the next request on; what runs with it ends as it would have."""
    core, now = visit.core, time.time()
    ask = parsed(visit, RevokeAsk)
    record = core.keys.revoke(ask.id, now, forget=ask.forget)
    core.allowances.forget(record.id)
    core.note("key_revoked", revoked=record.id, by=visit.caller.key_id)
    left = len(core.keys.records)
    visit.answer.whole(200, encode({**shown(record, "revoked"), "left": left}))
