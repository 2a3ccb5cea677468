"""One look at a server that somebody else runs: does it answer, and has it the model."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import dataclass, replace
from pathlib import Path

from rbee.edge.http_client import ConnectionLost, Endpoint, HttpClient
from rbee.edge.private_file import read_private
from rbee.errors import RbeeError
from rbee.settings import Timing
from rbee.wire.attached import Attachment, Foreign, models_of

_LIST_BYTES = 4 << 20
_KEY_BYTES = 4096
_NO_WAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
"""What a link that is down for a moment gives."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found."""

    listed: tuple[Foreign, ...] = ()
    foreign: Foreign | None = None
    """The model that is wished; None: it is not there, or nothing answers."""
    error: RbeeError | None = None
    silent: bool = False
    """The error is that nothing came: it may be the network's doing."""
    key: str = ""
    took_s: float = 0.0
    """From the question to the whole answer; 0: there was none."""


async def look_at(client: HttpClient, wish: Attachment, timing: Timing) -> Look:
    """Ask it for its models. Never raises RbeeError."""
    try:
        key = await asyncio.to_thread(key_of, wish)
    except RbeeError as error:
        return Look(error=error)
    asked_at = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(timing.attached_probe_s):
            status, body = await _models(client, wish, key)
    except TimeoutError:
        problem = f"it said nothing within {timing.attached_probe_s:g} s"
        return Look(error=_unusable(wish, problem), silent=True, key=key)
    except ConnectionLost as lost:
        return Look(error=_unusable(wish, lost.problem), silent=_is_silence(lost), key=key)
    if status in (401, 403):
        problem = f"it answered {status}"
        return Look(error=RbeeError("ATTACHED_KEY", worker=wish.id, problem=problem), key=key)
    found = _read(wish, status, body, key)
    return replace(found, took_s=asyncio.get_running_loop().time() - asked_at)


def key_of(wish: Attachment) -> str:
    """The key, from where the wish says that it is; empty: none is needed. Raises ATTACHED_KEY."""
    if wish.key_env:
        key = os.environ.get(wish.key_env, "")
        where = f"{wish.key_env} in the environment that rbee was started with"
    elif wish.key_file:
        try:
            key = read_private(Path(wish.key_file), _KEY_BYTES).decode("ascii", "replace").strip()
        except OSError as exc:
            problem = f"its key file cannot be used: {exc.strerror or exc}".lower()
            raise RbeeError("ATTACHED_KEY", worker=wish.id, problem=problem) from exc
        where = "its key file"
    else:
        return ""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        problem = f"{where} holds no key"
        raise RbeeError("ATTACHED_KEY", worker=wish.id, problem=problem)
    return key


async def _models(client: HttpClient, wish: Attachment, key: str) -> tuple[int, bytes]:
    endpoint = Endpoint(wish.host, wish.port, wish.tls)
    headers = [("authorization", f"Bearer {key}")] if key else []
    response = await client.request(endpoint, "GET", f"{wish.base}/models", headers)
    return response.status, await response.read(_LIST_BYTES)


def _read(wish: Attachment, status: int, body: bytes, key: str) -> Look:
    if status != 200:
        problem = f"it answered {status} to GET {wish.base}/models"
        return Look(error=_unusable(wish, problem), key=key)
    try:
        listed = models_of(body)
    except ValueError as exc:
        return Look(error=_unusable(wish, str(exc)), key=key)
    foreign = next((one for one in listed if one.name == wish.theirs), None)
    if foreign is None and wish.theirs:
        return Look(listed, error=_unusable(wish, f"it does not serve {wish.theirs}"), key=key)
    return Look(listed, foreign, key=key)


def _unusable(wish: Attachment, problem: str) -> RbeeError:
    return RbeeError("ATTACHED_UNREACHABLE", worker=wish.id, problem=problem)


def _is_silence(lost: ConnectionLost) -> bool:
    cause = lost.__cause__
    no_way = isinstance(cause, OSError) and cause.errno in _NO_WAY
    return lost.sent or isinstance(cause, TimeoutError) or no_way
