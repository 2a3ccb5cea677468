"""GGUF files: the facts of a whole one, and what is wrong with a damaged one."""

import struct
from pathlib import Path

import pytest

from rbee.errors import RbeeError
from rbee.models.gguf import read_facts
from tests.model_file import model_path


def tensor(name: str, offset: int = 0) -> bytes:
    """An entry of the tensor table: 8 F32 numbers."""
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<IQIQ", 1, 8, 0, offset)


def problem(path: Path) -> str:
    with pytest.raises(RbeeError) as caught:
        read_facts(path, model="m")
    assert caught.value.code == "MODEL_CORRUPTED"
    return str(caught.value.facts["problem"])


def test_the_facts_of_the_real_model():
    """Architecture, size, quantisation and context, as the engine reports them."""
    facts = read_facts(model_path(), model="m")

    assert (facts.architecture, facts.quantisation) == ("llama", "Q4_1")
    assert (facts.context_train_tokens, facts.embedding_length) == (8192, 576)
    assert facts.parameters == 134_515_008
    assert (facts.layers, facts.kv_width, facts.vocabulary) == (30, 2 * 3 * 64, 49_152)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"GG", "it ends in the middle of its first four bytes"),
        (b"GGUF\x03\0", "it ends in the middle of its version"),
        (b"<html>" * 20, "it is no model file"),
        (b"GGUF" + struct.pack("<I", 99) + b"\0" * 16, "its version is 99"),
        (b"GGUF" + struct.pack("<I", 1) + b"\0" * 16, "its version is 1"),
        (b"GGUF" + struct.pack(">I", 3) + b"\0" * 16, "the other byte order"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 0), "claims 1099511627776 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40), "claims 1099511627776 metadata"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 40), "a metadata key claims to be"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "it holds no tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor("a") + bytes(64), "no architecture"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + tensor("a") * 2, "a stands twice"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor("a", 8), "begins at 8, which is not"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + tensor("a") + tensor("b") + bytes(64),
            "lies over",
        ),
    ],
)
def test_damage_is_named(tmp_path, data, words):
    """Each kind of damage is told in words that a person can act on."""
    path = tmp_path / "x.gguf"
    path.write_bytes(data)

    assert words in problem(path)


@pytest.mark.parametrize("cut", [1, 1000, 1 << 20, 90 << 20])
def test_a_file_that_is_cut_short_is_refused(tmp_path, cut):
    """One missing byte is enough."""
    path = tmp_path / "x.gguf"
    size = model_path().stat().st_size
    with model_path().open("rb") as whole, path.open("wb") as part:
        part.write(whole.read(4 << 20))
        part.truncate(size - cut)

    assert "cut short" in problem(path)
