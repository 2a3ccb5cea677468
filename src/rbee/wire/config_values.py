"""The kinds of values that a configuration holds: one reader each, from TOML or from text.

A reader takes what TOML gave (or the text of an environment variable or flag, `bare` then) and
returns the value of the setting. It raises ValueError with the end of a sentence: "must be …".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from rbee.settings import KEEP_ALWAYS
from rbee.wire.units import parse_size_bytes, parse_time_s

Reader = Callable[[Any, bool], Any]
"""(value, bare) → setting; `bare` when it came as text from outside the TOML."""

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")


def text(value: Any, bare: bool) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text in quotes")
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def name(value: Any, bare: bool) -> str:
    found = text(value, bare).strip()
    if not found:
        raise ValueError("must not be empty")
    return found


def one_of(*allowed: str) -> Reader:
    def read(value: Any, bare: bool) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return read


def flag(value: Any, bare: bool) -> bool:
    if isinstance(value, bool):
        return value
    if bare and isinstance(value, str) and value.strip().lower() in (*_TRUE, *_FALSE):
        return value.strip().lower() in _TRUE
    raise ValueError("must be true or false")


def whole(low: int, high: int, *, words: Mapping[str, int] = MappingProxyType({})) -> Reader:
    """A whole number of a range, or one of some words (`auto`)."""

    def read(value: Any, bare: bool) -> int:
        if isinstance(value, str) and value in words:
            return words[value]
        if bare and isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            either = "".join(f'"{word}" or ' for word in words)
            raise ValueError(f"must be {either}a whole number between {low} and {high}")
        return value

    return read


def time_s(*, words: Mapping[str, float] = MappingProxyType({}), zero: bool = True) -> Reader:
    """A time with its unit, or one of some words (`always`, `none`)."""

    def read(value: Any, bare: bool) -> float:
        if isinstance(value, str) and value in words:
            return words[value]
        if not isinstance(value, str):
            raise ValueError('must be a time with a unit in quotes, such as "30s" or "5m"')
        found = parse_time_s(value, bare=bare)
        if not zero and found == 0:
            raise ValueError("must be longer than 0")
        return found

    return read


keep_alive_s = time_s(words={"always": KEEP_ALWAYS})
limit_s = time_s(words={"none": 0.0})


def size_bytes(value: Any, bare: bool) -> int:
    if not isinstance(value, str):
        raise ValueError('must be a size with a unit in quotes, such as "512MiB"')
    return parse_size_bytes(value, bare=bare)


def span(value: Any, bare: bool) -> tuple[int, int]:
    """Ports from one to another: `9100-9110`; one alone is a span of itself."""
    first, _, last = str(value).partition("-")
    low, high = whole(1, 65_535)(first, True), whole(1, 65_535)(last or first, True)
    if low > high:
        raise ValueError("must begin with the lower port, such as 9100-9110")
    return low, high


def texts(value: Any, bare: bool) -> tuple[str, ...]:
    """A list of texts; outside the TOML separated by commas."""
    if bare and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError('must be a list of texts, such as ["a", "b"]')
    return tuple(text(one, bare) for one in value)


def text_or_texts(value: Any, bare: bool) -> tuple[str, ...]:
    """One text or a list of them: the same file from several places."""
    if isinstance(value, str):
        return (name(value, bare),)
    return texts(value, bare)


def params(value: Any, bare: bool) -> Mapping[str, Any]:
    """Sampler defaults; outside the TOML as a JSON object."""
    if bare and isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as exc:
            raise ValueError('must be a JSON object, such as {"temperature": 0.2}') from exc
    if not isinstance(value, dict):
        raise ValueError("must be a table, such as { temperature = 0.2 }")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise ValueError("holds a value that no request can carry (a date or nan)") from exc
    return MappingProxyType(dict(value))


def listen(value: Any, bare: bool) -> tuple[str, int]:
    """`127.0.0.1:7833`, `:7833`, `[::1]:7833` → host and port."""
    host, colon, port = text(value, bare).strip().rpartition(":")
    if not colon or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise ValueError('must be an address and a port, such as "127.0.0.1:7833"')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError('must have an IPv6 address in brackets, such as "[::1]:7833"')
    return host or "127.0.0.1", int(port)
