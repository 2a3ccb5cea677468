"""The built-in catalogue: names with their sources and a digest that was checked by hand."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

import msgspec


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sources: tuple[str, ...]
    """Best first; all of one digest."""
    digest: str
    size_bytes: int
    licence: str


@cache
def entries() -> dict[str, Entry]:
    """All models that can be pulled by their name alone."""
    text = files("rbee.models").joinpath("catalogue.toml").read_text()
    return msgspec.convert(tomllib.loads(text), dict[str, Entry])
