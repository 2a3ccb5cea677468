"""Ways to damage a GGUF file, each a function of the whole file's bytes.

Offsets are found by walking the real metadata, so that each damage hits exactly what its name says.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_HEADER_BYTES = 24


@dataclass(frozen=True)
class Entry:
    """Where one key of the metadata stands."""

    key: str
    at: int
    """Of its length."""
    type_at: int
    value_at: int
    end: int


@dataclass(frozen=True)
class TensorEntry:
    name: str
    at: int
    dims_at: int
    type_at: int
    offset_at: int


def entries(data: bytes) -> tuple[list[Entry], list[TensorEntry], int]:
    """The metadata, the tensor table, and where that table ends."""
    tensors, count = struct.unpack_from("<QQ", data, 8)
    at = _HEADER_BYTES
    found: list[Entry] = []
    for _ in range(count):
        key, type_at = _string(data, at)
        end = _value_end(data, type_at + 4, struct.unpack_from("<I", data, type_at)[0])
        found.append(Entry(key, at, type_at, type_at + 4, end))
        at = end
    table: list[TensorEntry] = []
    for _ in range(tensors):
        name, dims_at = _string(data, at)
        dims = struct.unpack_from("<I", data, dims_at)[0]
        type_at = dims_at + 4 + 8 * dims
        table.append(TensorEntry(name, at, dims_at, type_at, type_at + 4))
        at = type_at + 12
    return found, table, at


def _string(data: bytes, at: int) -> tuple[str, int]:
    length = struct.unpack_from("<Q", data, at)[0]
    return data[at + 8 : at + 8 + length].decode(), at + 8 + length


def _value_end(data: bytes, at: int, kind: int) -> int:
    if kind == _STRING:
        return at + 8 + int(struct.unpack_from("<Q", data, at)[0])
    if kind != _ARRAY:
        return at + _SCALAR_BYTES[kind]
    inner, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if inner in _SCALAR_BYTES:
        return at + _SCALAR_BYTES[inner] * int(count)
    for _ in range(count):
        at = _value_end(data, at, inner)
    return at


def _put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _entry(data: bytes, key: str) -> Entry:
    return next(entry for entry in entries(data)[0] if entry.key == key)


def _tensor(data: bytes, name: str) -> TensorEntry:
    return next(tensor for tensor in entries(data)[1] if tensor.name == name)


def _data_start(data: bytes) -> int:
    end = entries(data)[2]
    return end + -end % 32


def _architecture(data: bytes) -> bytes:
    value_at = _entry(data, "general.architecture").value_at
    return _put(data, value_at + 8, b"lXama")


def _duplicate_token(data: bytes) -> bytes:
    """The second token becomes the first; both are of one length in SmolLM2's vocabulary."""
    at = _entry(data, "tokenizer.ggml.tokens").value_at + 12
    tokens: dict[int, int] = {}
    while True:
        length = struct.unpack_from("<Q", data, at)[0]
        if length in tokens and length > 3:
            return _put(data, at + 8, data[tokens[length] : tokens[length] + length])
        tokens[length] = at + 8
        at += 8 + length


def _weights_at(data: bytes, name: str) -> int:
    """Where the data of a tensor begins."""
    offset = struct.unpack_from("<Q", data, _tensor(data, name).offset_at)[0]
    return _data_start(data) + int(offset)


def _scale(data: bytes, half: bytes) -> bytes:
    """The f16 scale of the first Q4_1 block of a tensor becomes this."""
    return _put(data, _weights_at(data, "blk.0.attn_q.weight"), half)


def _norm(data: bytes, value: float) -> bytes:
    """Every number of the last norm becomes this."""
    return _put(data, _weights_at(data, "output_norm.weight"), struct.pack("<f", value) * 576)


def flipped_bits(data: bytes, count: int, begin: int = 0, end: int = 0) -> bytes:
    """So many bits flipped from `begin` to `end` (0: all weights); always the same ones."""
    dice = random.Random(1)
    damaged = bytearray(data)
    begin, end = begin or _data_start(data), end or len(data)
    for _ in range(count):
        damaged[dice.randrange(begin, end)] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def _flipped_in_a_tensor(data: bytes) -> bytes:
    """200 bits of one tensor; a Q4_1 block of 32 weights takes 20 bytes."""
    begin = _weights_at(data, "blk.0.attn_q.weight")
    return flipped_bits(data, 200, begin, begin + 576 * 576 // 32 * 20)


def _without(data: bytes, key: str) -> bytes:
    """A key renamed, so that the engine misses it."""
    entry = _entry(data, key)
    return _put(data, entry.at + 8, b"X" + key.encode()[1:])


DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "zero_length": lambda data: b"",
    "ten_bytes": lambda data: data[:10],
    "html_page": lambda data: b"<html><body>404 Not Found</body></html>\n" * 100,
    "magic_flipped": lambda data: _put(data, 0, b"GGUE"),
    "version_99": lambda data: _put(data, 4, struct.pack("<I", 99)),
    "version_1": lambda data: _put(data, 4, struct.pack("<I", 1)),
    "version_0": lambda data: _put(data, 4, struct.pack("<I", 0)),
    "big_endian": lambda data: _put(data, 4, struct.pack(">I", 3)),
    "half": lambda data: data[: len(data) // 2],
    "one_byte_short": lambda data: data[:-1],
    "no_tensor_data": lambda data: data[: _data_start(data)],
    "truncated_metadata": lambda data: data[: _entry(data, "tokenizer.ggml.tokens").end // 2],
    "n_kv_too_large": lambda data: _put(data, 16, struct.pack("<Q", 1000)),
    "n_kv_huge": lambda data: _put(data, 16, struct.pack("<Q", 1 << 62)),
    "n_tensors_huge": lambda data: _put(data, 8, struct.pack("<Q", 1 << 62)),
    "n_tensors_one_more": lambda data: _put(data, 8, struct.pack("<Q", len(entries(data)[1]) + 1)),
    "n_tensors_one_less": lambda data: _put(data, 8, struct.pack("<Q", len(entries(data)[1]) - 1)),
    "key_length_huge": lambda data: _put(data, _HEADER_BYTES, struct.pack("<Q", 1 << 60)),
    "key_type_unknown": lambda data: _put(data, entries(data)[0][0].type_at, b"\x63\0\0\0"),
    "tensor_type_unknown": lambda data: _put(data, entries(data)[1][0].type_at, b"\xe7\x03\0\0"),
    "tensor_dims_five": lambda data: _put(data, entries(data)[1][0].dims_at, b"\x05\0\0\0"),
    "tensor_offset_odd": lambda data: _put(data, entries(data)[1][1].offset_at, b"\x01\0\0\0"),
    "tensor_shape_wrong": lambda data: _put(
        data, _tensor(data, "blk.0.attn_q.weight").dims_at + 4, struct.pack("<Q", 608)
    ),
    "tensor_name_twice": lambda data: _put(
        data, _tensor(data, "blk.1.attn_q.weight").at + 8, b"blk.0.attn_q.weight"
    ),
    "tensor_missing": lambda data: _put(
        data, _tensor(data, "blk.1.attn_q.weight").at + 8, b"blk.1.attn_Q.weight"
    ),
    "architecture_unknown": _architecture,
    "context_length_missing": lambda data: _without(data, "llama.context_length"),
    "block_count_missing": lambda data: _without(data, "llama.block_count"),
    "rope_dimensions_odd": lambda data: _put(
        data, _entry(data, "llama.rope.dimension_count").value_at, struct.pack("<I", 63)
    ),
    "block_count_zero": lambda data: _put(
        data, _entry(data, "llama.block_count").value_at, struct.pack("<I", 0)
    ),
    "feed_forward_wrong": lambda data: _put(
        data, _entry(data, "llama.feed_forward_length").value_at, struct.pack("<I", 1504)
    ),
    "tokens_missing": lambda data: _without(data, "tokenizer.ggml.tokens"),
    "tokenizer_unknown": lambda data: _put(
        data, _entry(data, "tokenizer.ggml.model").value_at + 8, b"Xpt2"
    ),
    "merges_missing": lambda data: _without(data, "tokenizer.ggml.merges"),
    "token_twice": _duplicate_token,
    "nan_in_a_block": lambda data: _scale(data, b"\x00\x7e"),
    "infinity_in_a_block": lambda data: _scale(data, b"\x00\x7c"),
    "nan_norm": lambda data: _norm(data, math.nan),
    "infinite_norm": lambda data: _norm(data, math.inf),
    "norm_1e30": lambda data: _norm(data, 1e30),
    "bits_1000": lambda data: flipped_bits(data, 1000),
    "bits_200_in_a_tensor": _flipped_in_a_tensor,
    "bits_10": lambda data: flipped_bits(data, 10),
    "bit_1": lambda data: flipped_bits(data, 1),
    "mebibyte_of_zeros": lambda data: _put(data, len(data) // 2, bytes(1 << 20)),
    "page_of_zeros": lambda data: _put(data, len(data) // 2, bytes(4096)),
    "more_at_the_end": lambda data: data + b"garbage" * 1000,
}
"""Damage by name. A gap in a file is only ever found by its digest: docs/measured.md, Damage."""
