"""A GGUF model cut into two files, as llama.cpp's own tool does it."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.damaged_gguf import entries

_ALIGNMENT = 32


def split(data: bytes, folder: Path, name: str) -> tuple[Path, Path]:
    """`NAME-0000N-of-00002.gguf`: all metadata in the first file, half of the tensors in each."""
    _, table, end = entries(data)
    start = end + -end % _ALIGNMENT
    half = len(table) // 2
    offsets = [struct.unpack_from("<Q", data, one.offset_at)[0] for one in table]
    cut = offsets[half]
    infos_at = table[0].at
    count = struct.unpack_from("<Q", data, 16)[0]
    paths = tuple(folder / f"{name}-0000{part}-of-00002.gguf" for part in (1, 2))

    first = data[infos_at : table[half].at]
    paths[0].write_bytes(
        _file(count, data[24:infos_at], 0, len(table), half, first) + data[start : start + cut]
    )
    rest = bytearray(data[table[half].at : end])
    for tensor, offset in zip(table[half:], offsets[half:], strict=True):
        struct.pack_into("<Q", rest, tensor.offset_at - table[half].at, offset - cut)
    paths[1].write_bytes(
        _file(0, b"", 1, len(table), len(table) - half, bytes(rest)) + data[start + cut :]
    )
    return paths


def _file(pairs: int, said: bytes, part: int, tensors: int, own: int, infos: bytes) -> bytes:
    """Everything before the data."""
    head = b"GGUF" + struct.pack("<IQQ", 3, own, pairs + 3) + said
    head += _key("split.no", 2, "<H", part) + _key("split.count", 2, "<H", 2)
    head += _key("split.tensors.count", 5, "<i", tensors) + infos
    return head + bytes(-len(head) % _ALIGNMENT)


def _key(key: str, kind: int, form: str, value: int) -> bytes:
    name = key.encode()
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + struct.pack(form, value)
