"""Who may call: Host and Origin checks against web pages that reach for the loopback address.

A page on any site can post to 127.0.0.1, and by rebinding its DNS name can read the answer
(Ollama CVE-2024-28224 was this). A listed Host stops rebinding, a listed Origin stops the rest,
and requiring a JSON content type forces browsers to ask first (CORS preflight).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_MOST_HOST = 253 + len(":65535") + len("[]")
"""A name of DNS is no longer (RFC 1035), with a port behind it."""
_EVERYWHERE = frozenset({"0.0.0.0", "::"})

LOOPBACK_WORD = "loopback"
"""In `origins`: any port of this machine's loopback names."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The answer to a caller from outside the machine's own user."""

    origin: str = ""
    """The Origin to name in CORS headers; empty: none was sent."""


@dataclass(frozen=True, slots=True)
class HostForbidden:
    host: str


@dataclass(frozen=True, slots=True)
class OriginForbidden:
    origin: str


def check(
    host: str, origin: str | None, *, origins: Sequence[str], bound: str
) -> Allowed | HostForbidden | OriginForbidden:
    """Decide by the Host and Origin headers; `bound` is the address that rbee listens on."""
    name = hostname(host)
    if name is None or not _host_listed(name, origins, bound):
        return HostForbidden(host[:200])
    if origin is None:
        return Allowed()
    if not _origin_listed(origin, origins):
        return OriginForbidden(origin[:200])
    return Allowed(origin)


def is_loopback(host: str) -> bool:
    """Whether nobody beyond this machine can reach that address."""
    return host in _LOOPBACK or host.startswith("127.")


def may_bind(host: str, *, keys: int) -> bool:
    """Whether rbee may listen there: beyond this machine only if a key is asked for."""
    return is_loopback(host) or keys > 0


def hostname(host: str) -> str | None:
    """The name in a Host header without its port, lower-case; None if it is no host at all."""
    return _hostname(host) if len(host) <= _MOST_HOST else None


@lru_cache(maxsize=256)
def _hostname(host: str) -> str | None:
    try:
        parts = urlsplit("//" + host)
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if name is None or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return name


def _host_listed(name: str, origins: Sequence[str], bound: str) -> bool:
    if name in _LOOPBACK or name == bound:
        return True
    if bound in _EVERYWHERE and _is_address(name):
        # Only a name can be rebound; an address leads nowhere but where it says.
        return True
    return any(name == _origin_host(entry) for entry in origins)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _origin_listed(origin: str, origins: Sequence[str]) -> bool:
    if origin in origins:
        return True
    return LOOPBACK_WORD in origins and _origin_host(origin) in _LOOPBACK


def _origin_host(origin: str) -> str | None:
    if "://" not in origin:
        return hostname(origin)
    scheme, _, rest = origin.partition("://")
    return hostname(rest) if scheme in ("http", "https") else None
