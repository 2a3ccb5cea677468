"""Promises of `worker.pooling`."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from rbee.worker.pooling import pooling_of


def _file(folder: Path, metadata: bytes) -> Path:
    path = folder / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + metadata)
    return path


@pytest.mark.parametrize(
    ("value", "name"), [(0, "mean"), (1, "mean"), (2, "cls"), (3, "last"), (99, "mean")]
)
def test_an_embedding_model_is_pooled_as_it_was_trained(
    value: int, name: str, tmp_path: Path
) -> None:
    """Its own word is taken where it gives one vector."""
    key = b"bert.pooling_type"
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, value)
    assert pooling_of(_file(tmp_path, entry)) == name


def test_a_chat_model_gives_the_mean(model_file: Path) -> None:
    """SmolLM2 names none, and `none` gives no vector at all."""
    assert pooling_of(model_file) == "mean"


@pytest.mark.parametrize("content", [b"", b"x.pooling_type", b"x.pooling_type\x04\0\0"])
def test_a_damaged_file_is_left_to_the_engine(content: bytes, tmp_path: Path) -> None:
    """Here it raises nothing: the engine says what is wrong with it."""
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    assert pooling_of(path) == "mean"
    assert pooling_of(tmp_path / "none") == "mean"
    assert pooling_of(tmp_path) == "mean"
