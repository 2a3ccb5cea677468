"""GGUF files: their facts and their structure, read with suspicion.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Everything in a file is
somebody else's word: each count and length is bounded by what the file can hold before it is used,
the metadata as a whole is bounded, and only short values are kept, so that a hostile file costs
neither memory nor time. Numbers of `TYPES` are those of ggml's type table (ggml.c of llama.cpp
b11549).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from rbee.errors import RbeeError

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_PAIRS = 65_536
_MOST_TENSORS = 262_144
_MOST_ARRAY = 16_777_216
_LONGEST_KEY = 65_535
_LONGEST_NAME = 64
"""GGML_MAX_NAME: the engine refuses longer names of tensors."""
_LONGEST_STRING = 16 << 20
_MOST_DIMENSIONS = 4
_KEPT_BYTES = 4096
"""Of a string; longer ones (chat templates) are stepped over."""
_MOST_METADATA_BYTES = 256 << 20
"""Vocabularies of today need some 10 MiB (262,144 tokens and their merges)."""
_MOST_ENTRIES = 2_097_152
"""Of all arrays of strings together, since each entry is a step of this reader."""
_BUFFER_BYTES = 1 << 20

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")

TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
"""Tensor type: name, elements in a block, bytes of a block."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a GGUF file says of itself, once its structure was found whole."""

    version: int
    architecture: str
    name: str
    parameters: int
    quantisation: str
    """The type that most weights have."""
    context_train_tokens: int
    embedding_length: int
    tensors: int
    part: int = 0
    """Of a model in several files: which of them this is, from 0 on."""
    parts: int = 1
    layers: int = 0
    kv_width: int = 0
    """Elements of key and value of one token in one layer; 0: not known, or not the same in all."""
    vocabulary: int = 0


class _Many(NamedTuple):
    """An array of the metadata."""

    length: int


def joined(parts: Sequence[Facts], *, model: str) -> Facts:
    """What is known of a model in so many files, in order. Raises MODEL_CORRUPTED if they are not
    all of one model, or not all of its files."""
    first = parts[0]
    if [(one.part, one.parts) for one in parts] != [(n, len(parts)) for n in range(len(parts))]:
        problem = (
            f"it is in {first.parts} files, and here are other ones than these"
            if len(parts) > 1
            else f"it is part {first.part + 1} of {first.parts}, and nothing without the others"
        )
        raise RbeeError("MODEL_CORRUPTED", model=model, problem=problem)
    return replace(
        first,
        parameters=sum(one.parameters for one in parts),
        tensors=sum(one.tensors for one in parts),
    )


class _Damaged(Exception):
    """What is wrong with the file, in words."""


class _Reader:
    """Reads little-endian values; never more than the file holds."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._entries = 0
        self.at = 0

    @property
    def left_bytes(self) -> int:
        return self._size_bytes - self.at

    def take(self, count: int, what: str) -> bytes:
        if count > self.left_bytes:
            raise _Damaged(f"it ends in the middle of {what}")
        data = self._file.read(count)
        if len(data) != count:
            raise _Damaged(f"it ends in the middle of {what}")
        self.at += count
        return data

    def skip(self, count: int, what: str) -> None:
        if count > self.left_bytes:
            raise _Damaged(f"it ends in the middle of {what}")
        self._file.seek(count, 1)
        self.at += count

    def number(self, form: str, what: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize(form), what))[0]

    def string(self, what: str, longest: int = _LONGEST_STRING) -> bytes:
        """The string, or nothing in its place if it is longer than what is worth keeping."""
        length = self.number("Q", what)
        if length > longest:
            raise _Damaged(f"{what} claims to be {length} bytes long")
        if length > _KEPT_BYTES:
            self.skip(length, what)
            return b""
        return self.take(length, what)

    def step(self, what: str) -> None:
        """One more entry of an array, each of which costs time."""
        self._entries += 1
        if self._entries > _MOST_ENTRIES or self.at > _MOST_METADATA_BYTES:
            raise _Damaged(f"{what} is part of more metadata than any model has")

    def strings(self, count: int, what: str) -> None:
        """Step over an array of strings, in blocks that hold many."""
        block, at = b"", 0
        for _ in range(count):
            self.step(what)
            if len(block) - at < 8:
                block, at = block[at:] + self._more(8 - (len(block) - at), what), 0
            size = _LENGTH.unpack_from(block, at)[0]
            if size > _LONGEST_STRING:
                raise _Damaged(f"{what} holds a string of {size} bytes")
            at += 8 + size
            self.at += 8 + size
            if at > len(block):
                self._file.seek(at - len(block), 1)
                block, at = b"", 0
            if self.at > self._size_bytes:
                raise _Damaged(f"it ends in the middle of {what}")
        self._file.seek(self.at)

    def _more(self, needed: int, what: str) -> bytes:
        data = self._file.read(_BUFFER_BYTES)
        if len(data) < needed:
            raise _Damaged(f"it ends in the middle of {what}")
        return data


def read_facts(path: Path, *, model: str) -> Facts:
    """The facts of a whole file. Raises MODEL_CORRUPTED with what is wrong, or OSError."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        try:
            return _facts(_Reader(file, size_bytes), size_bytes)
        except _Damaged as exc:
            raise RbeeError("MODEL_CORRUPTED", model=model, problem=str(exc)) from exc


def _facts(reader: _Reader, size_bytes: int) -> Facts:
    version, tensors, pairs = _header(reader, size_bytes)
    said = _pairs(reader, pairs)
    parameters, weight_types = _tensors(reader, tensors, said, size_bytes)
    architecture = _text(said.get("general.architecture"))
    part, parts = _count(said.get("split.no")), _count(said.get("split.count")) or 1
    if not architecture and not part:
        raise _Damaged("it names no architecture")
    tokens = said.get("tokenizer.ggml.tokens")
    main_type = max(weight_types, key=lambda kind: weight_types[kind], default=0)
    return Facts(
        version=version,
        architecture=architecture,
        name=_text(said.get("general.name")),
        parameters=parameters,
        quantisation=TYPES[main_type][0],
        context_train_tokens=_count(said.get(f"{architecture}.context_length")),
        embedding_length=_count(said.get(f"{architecture}.embedding_length")),
        tensors=tensors,
        layers=_count(said.get(f"{architecture}.block_count")),
        kv_width=_kv_width(said, architecture),
        vocabulary=tokens.length if isinstance(tokens, _Many) else 0,
        part=part,
        parts=parts,
    )


def _kv_width(said: Mapping[str, Any], architecture: str) -> int:
    heads = _count(said.get(f"{architecture}.attention.head_count"))
    shared = _count(said.get(f"{architecture}.attention.head_count_kv"))
    width = _count(said.get(f"{architecture}.embedding_length"))
    if not heads or not width:
        return 0
    key = _count(said.get(f"{architecture}.attention.key_length")) or width // heads
    value = _count(said.get(f"{architecture}.attention.value_length")) or width // heads
    return (shared or heads) * (key + value)


def _header(reader: _Reader, size_bytes: int) -> tuple[int, int, int]:
    if size_bytes == 0:
        raise _Damaged("it is empty")
    magic = reader.take(4, "its first four bytes")
    if magic != MAGIC:
        raise _Damaged(f"it begins with {magic!r} where GGUF should stand: it is no model file")
    version = reader.number("I", "its version")
    if version not in _VERSIONS:
        if version & 0xFFFF == 0:
            raise _Damaged("it was written for machines of the other byte order")
        raise _Damaged(f"its version is {version}, and 2 and 3 can be read")
    tensors, pairs = reader.number("Q", "its counts"), reader.number("Q", "its counts")
    if tensors > _MOST_TENSORS or tensors * 24 > size_bytes:
        raise _Damaged(f"it claims {tensors} tensors")
    if pairs > _MOST_PAIRS or pairs * 13 > size_bytes:
        raise _Damaged(f"it claims {pairs} metadata entries")
    return version, tensors, pairs


def _pairs(reader: _Reader, count: int) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for _ in range(count):
        reader.step("the metadata")
        key = reader.string("a metadata key", _LONGEST_KEY).decode("utf-8", "replace")
        kind = reader.number("I", f"the type of {_shown(key)}")
        value = _value(reader, kind, _shown(key))
        if key in said:
            raise _Damaged(f"the metadata key {_shown(key)} stands twice")
        said[key] = value
    return said


def _value(reader: _Reader, kind: int, what: str) -> Any:
    """Scalars and strings; arrays are stepped over, and only their length is told."""
    if kind in _SCALARS:
        return reader.number(_SCALARS[kind], what)
    if kind == _STRING:
        return reader.string(what)
    if kind != _ARRAY:
        raise _Damaged(f"{what} has the unknown type {kind}")
    inner, length = reader.number("I", what), reader.number("Q", what)
    if length > _MOST_ARRAY or length > reader.left_bytes:
        raise _Damaged(f"{what} claims {length} entries")
    if inner in _SCALARS:
        reader.skip(length * struct.calcsize(_SCALARS[inner]), what)
    elif inner == _STRING:
        reader.strings(length, what)
    else:
        raise _Damaged(f"{what} is an array of entries of the unknown type {inner}")
    return _Many(length)


def _tensors(
    reader: _Reader, count: int, said: Mapping[str, Any], size_bytes: int
) -> tuple[int, dict[int, int]]:
    """Every tensor within the file; number of parameters, and of each type."""
    if count == 0:
        raise _Damaged("it holds no tensors: it is no model by itself")
    spans: list[tuple[int, int, str]] = []
    names: set[str] = set()
    parameters = 0
    weight_types: dict[int, int] = {}
    for _ in range(count):
        name = _shown(reader.string("a tensor's name", _LONGEST_NAME).decode("utf-8", "replace"))
        if name in names:
            raise _Damaged(f"the tensor {name} stands twice")
        names.add(name)
        elements, row = _shape(reader, name)
        kind, offset = reader.number("I", name), reader.number("Q", name)
        if kind not in TYPES:
            raise _Damaged(f"tensor {name} has the unknown type {kind}")
        _, block, block_bytes = TYPES[kind]
        if row % block:
            raise _Damaged(f"tensor {name} has rows of {row}, which {TYPES[kind][0]} cannot hold")
        spans.append((offset, offset + elements // block * block_bytes, name))
        parameters += elements
        weight_types[kind] = weight_types.get(kind, 0) + elements
    alignment = _count(said.get("general.alignment")) or 32
    if alignment & (alignment - 1):
        raise _Damaged(f"its alignment is {alignment}")
    data_at = -(-reader.at // alignment) * alignment
    _placed(spans, alignment, size_bytes - data_at)
    return parameters, weight_types


def _placed(spans: list[tuple[int, int, str]], alignment: int, data_bytes: int) -> None:
    """Every tensor aligned, within the file, and in a place of its own."""
    taken = 0
    for begin, end, name in sorted(spans):
        if begin % alignment:
            raise _Damaged(f"tensor {name} begins at {begin}, which is not aligned to {alignment}")
        if begin < taken:
            raise _Damaged(f"tensor {name} lies over another one")
        if end > data_bytes:
            missing = end - data_bytes
            raise _Damaged(f"it is cut short: {missing} bytes of tensor {name} are missing")
        taken = end


def _shape(reader: _Reader, name: str) -> tuple[int, int]:
    """Number of elements, and length of a row."""
    dimensions = reader.number("I", name)
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise _Damaged(f"tensor {name} claims {dimensions} dimensions")
    sizes = [reader.number("Q", name) for _ in range(dimensions)]
    elements = 1
    for size in sizes:
        elements *= size
        if elements > 1 << 48:
            raise _Damaged(f"tensor {name} claims {elements} elements")
    return elements, sizes[0]


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:80])


def _text(value: object) -> str:
    return _shown(value.decode("utf-8", "replace")) if isinstance(value, bytes) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 32 else 0
