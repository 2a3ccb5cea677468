"""How an embedding worker makes one vector of many: the model's own way, else the mean."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_HEAD_BYTES = 64 << 20
"""Metadata, vocabulary included, stands in front; the largest known take some 20 MB."""

_KEY = b".pooling_type"
_UINT32 = 4
_NAMES = {1: "mean", 2: "cls", 3: "last"}


def pooling_of(model: Path) -> str:
    """`mean`, `cls` or `last`: what the GGUF asks for; a chat model asks for nothing: `mean`.

    A file that cannot be read gives `mean` too: the engine then says what is wrong with it.
    """
    try:
        with (
            model.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as head,
        ):
            at = head.find(_KEY, 0, _HEAD_BYTES)
            if at < 0:
                return "mean"
            kind, value = struct.unpack_from("<II", head, at + len(_KEY))
    except (OSError, ValueError, struct.error):
        return "mean"
    return _NAMES.get(value, "mean") if kind == _UINT32 else "mean"
