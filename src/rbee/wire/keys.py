"""Keys as they are stored and shown: never the secret, only its SHA-256."""

from __future__ import annotations

from typing import Any

import msgspec

PREFIX = "rb_"
INFER = "infer"
ADMIN = "admin"
ROLES = (INFER, ADMIN)


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key in `state/keys.json`. Times are seconds since 1970 on the wall clock; 0: never."""

    id: str
    sha256: str
    """Of the whole key, in hex."""
    name: str = ""
    roles: tuple[str, ...] = (INFER,)
    created_at: float = 0.0
    expires_at: float = 0.0
    revoked_at: float = 0.0
    rpm: int = 0
    """Requests a minute; 0: no limit. So with the two others."""
    tpm: int = 0
    concurrent: int = 0


class KeyAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `rbee keys create` asks for."""

    name: str = ""
    roles: tuple[str, ...] = (INFER,)
    expires_at: float = 0.0
    rpm: int = 0
    tpm: int = 0
    concurrent: int = 0


def shown(record: KeyRecord, state: str) -> dict[str, Any]:
    """A key as `rbee keys list` tells it."""
    return {
        "id": record.id,
        "name": record.name,
        "state": state,
        "roles": list(record.roles),
        "created_at": record.created_at,
        "expires_at": record.expires_at or None,
        "revoked_at": record.revoked_at or None,
        "rpm": record.rpm or None,
        "tpm": record.tpm or None,
        "concurrent": record.concurrent or None,
    }
