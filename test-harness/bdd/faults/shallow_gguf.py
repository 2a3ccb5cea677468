"""A real model with only its first layers: it talks nonsense, and is quickly computed."""

from __future__ import annotations

import re
import struct

from tests.damaged_gguf import entries

_ALIGNMENT = 32
_LAYER = re.compile(r"blk\.(\d+)\.")


def shallow(data: bytes, layers: int) -> bytes:
    """The same file with so many layers, everything else as it is."""
    pairs, table, end = entries(data)
    start = end + -end % _ALIGNMENT
    offsets = [struct.unpack_from("<Q", data, one.offset_at)[0] for one in table]
    ends = [*offsets[1:], len(data) - start]
    infos, weights = b"", b""
    count = 0
    for tensor, begins, stops in zip(table, offsets, ends, strict=True):
        layer = _LAYER.match(tensor.name)
        if layer is not None and int(layer.group(1)) >= layers:
            continue
        infos += data[tensor.at : tensor.offset_at] + struct.pack("<Q", len(weights))
        weights += data[start + begins : start + stops]
        count += 1
    (depth,) = (one for one in pairs if one.key.endswith(".block_count"))
    said = bytearray(data[: table[0].at])
    struct.pack_into("<Q", said, 8, count)
    struct.pack_into("<I", said, depth.value_at, layers)
    head = bytes(said) + infos
    return head + bytes(-len(head) % _ALIGNMENT) + weights
