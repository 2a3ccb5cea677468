"""Who calls, by the key that came with the request, and what that key opens.

A key is `rb_ID_SECRET`. ID finds the record; SECRET is 256 random bits, so its plain SHA-256 is
all that has to be kept: nobody can try 2^256. State and time of a key are told only to those who
hold it.

A key is needed as soon as there is one, on the loopback address too: a proxy that brings the
network in connects from there. Without any, the loopback address takes every key ("any", as
SDKs demand one) and opens no act of administration.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from rbee.wire.keys import ADMIN, INFER, PREFIX, ROLES, KeyAsk, KeyRecord

_FORM = re.compile(r"rb_([0-9a-z]{8})_[0-9a-f]{64}", re.ASCII)
MOST_KEYS = 1000
"""Records that are kept; each is looked up by id, so the number costs nothing but the file."""
_MOST_NAME = 100
_MOST_LIMIT = 1_000_000_000
_FOR_EVER = 253_402_300_799
"""The end of the year 9999: no date beyond it can be written."""


class KeyLimits(msgspec.Struct, frozen=True):
    """What a key may ask for; 0: no limit."""

    rpm: int = 0
    tpm: int = 0
    concurrent: int = 0

    @property
    def bounded(self) -> bool:
        return bool(self.rpm or self.tpm or self.concurrent)


class Caller(msgspec.Struct, frozen=True):
    """Who sent a request."""

    key_id: str = ""
    """The key's id; empty: nobody in particular."""
    roles: tuple[str, ...] = ()
    limits: KeyLimits = KeyLimits()

    @property
    def admin(self) -> bool:
        return ADMIN in self.roles


NOBODY = Caller(roles=(INFER,))
"""Somebody on this machine, where no key is needed."""
OWNER = Caller(roles=ROLES)
"""This rbee's own user, over the admin socket."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a caller is not let in: a code of the catalogue with its facts."""

    code: str
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def needed(keys: int, *, loopback: bool) -> bool:
    """Whether a request must bring a key."""
    return keys > 0 or not loopback


def presented(authorization: str | None, api_key: str | None) -> str:
    """The key in `Authorization: Bearer …` or `x-api-key`; one of ours is taken before another."""
    scheme, _, rest = (authorization or "").strip().partition(" ")
    bearer = rest.strip() if scheme.lower() == "bearer" else ""
    other = (api_key or "").strip()
    if other.startswith(PREFIX) and not bearer.startswith(PREFIX):
        return other
    return bearer or other


def judge(key: str, records: Mapping[str, KeyRecord], *, now: float) -> Caller | Refused:
    """Decide who holds this key; `now` is wall time."""
    if not key:
        return Refused("KEY_MISSING")
    form = _FORM.fullmatch(key)
    record = records.get(form.group(1)) if form is not None else None
    if record is None or not hmac.compare_digest(digest(key), record.sha256):
        return Refused("KEY_INVALID")
    if record.revoked_at:
        return Refused("KEY_REVOKED", {"key": record.id, "revoked_at": moment(record.revoked_at)})
    if record.expires_at and now >= record.expires_at:
        return Refused("KEY_EXPIRED", {"key": record.id, "expired_at": moment(record.expires_at)})
    limits = KeyLimits(record.rpm, record.tpm, record.concurrent)
    return Caller(record.id, with_implied(record.roles), limits)


def may(caller: Caller, role: str) -> bool:
    return role in caller.roles


def with_implied(roles: Sequence[str]) -> tuple[str, ...]:
    """Whoever may make keys may use them: `admin` holds `infer`."""
    return ROLES if ADMIN in roles else tuple(roles)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def state(record: KeyRecord, now: float) -> str:
    """One word for a list."""
    if record.revoked_at:
        return "revoked"
    return "expired" if record.expires_at and now >= record.expires_at else "valid"


def make(ask: KeyAsk, *, id_: str, secret: str, now: float) -> tuple[str, KeyRecord]:
    """The key, to be shown once, and what is kept of it. Raises ValueError for what makes no key:
    an unknown role, a time that is over, a limit that is none."""
    if not ask.roles or any(role not in ROLES for role in ask.roles):
        raise ValueError(f"a role is one of {', '.join(ROLES)}")
    if len(ask.name) > _MOST_NAME or not ask.name.isprintable():
        raise ValueError(f"a name has at most {_MOST_NAME} printable letters")
    if ask.expires_at and not now < ask.expires_at <= _FOR_EVER:
        raise ValueError("the time at which it expires must lie ahead")
    if not all(0 <= limit <= _MOST_LIMIT for limit in (ask.rpm, ask.tpm, ask.concurrent)):
        raise ValueError(f"a limit is a whole number up to {_MOST_LIMIT}")
    key = f"{PREFIX}{id_}_{secret}"
    record = KeyRecord(
        id=id_,
        sha256=digest(key),
        name=ask.name,
        roles=tuple(dict.fromkeys(ask.roles)),
        created_at=now,
        expires_at=ask.expires_at,
        rpm=ask.rpm,
        tpm=ask.tpm,
        concurrent=ask.concurrent,
    )
    return key, record


def merged(here: Iterable[KeyRecord], back: Iterable[KeyRecord]) -> list[KeyRecord]:
    """Keys of a backup put back to those that are here: none is lost, and one that was revoked
    since stays revoked."""
    kept = {one.id: one for one in here}
    for one in back:
        before = kept.get(one.id)
        revoked_at = one.revoked_at or (before.revoked_at if before is not None else 0.0)
        kept[one.id] = msgspec.structs.replace(one, revoked_at=revoked_at)
    return list(kept.values())


def moment(at: float) -> str:
    """`2027-01-01T00:00:00Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
