"""Bodies of clients, read without holding up the answers of others (`wire.large_body`)."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

from rbee.queen.core import Core
from rbee.wire.large_body import LARGE_BYTES, SLICE_BYTES, Survey, members
from rbee.wire.openai import Ask, ask_of, parse_object


async def read_object(body: bytes, *, nesting: int) -> dict[str, Any]:
    """The object in a body; in a large one, what is large stays `msgspec.Raw`.

    Raises INVALID_REQUEST saying what is wrong and where.
    """
    if len(body) <= LARGE_BYTES:
        return parse_object(body, nesting=nesting)
    await look_over(body, nesting=nesting)
    found = members(body)
    await asyncio.sleep(0)
    return found


async def read_ask(core: Core, body: bytes, *, timeout_header: str | None) -> Ask:
    """A request for a model. Raises INVALID_REQUEST naming every field that is wrong."""
    value = await read_object(body, nesting=core.settings.bounds.nesting)
    only_model = core.models.only(core.roster.models)
    return ask_of(value, timeout_header=timeout_header, only_model=only_model)


async def look_over(body: bytes, *, nesting: int) -> None:
    """Count what is in a large body, slice by slice. Raises INVALID_REQUEST if it is too much."""
    survey = Survey(nesting)
    for at in range(0, len(body), SLICE_BYTES):
        survey.feed(body[at : at + SLICE_BYTES])
        await asyncio.sleep(0)


async def hash_of(path: str, body: bytes) -> str:
    """What tells a request from others with the same Idempotency-Key."""

    def hashed() -> str:
        digest = sha256(path.encode() + b"\0")
        digest.update(body)
        return digest.hexdigest()

    return hashed() if len(body) <= LARGE_BYTES else await asyncio.to_thread(hashed)
