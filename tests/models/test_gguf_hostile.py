"""Hostile GGUF files cost neither a crash, nor time, nor memory."""

import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.model_file import model_path

READER = Path(__file__).with_name("read_many_gguf.py")
INPUTS = int(os.environ.get("RBEE_FUZZ_INPUTS", "10000"))
SEED = os.environ.get("RBEE_FUZZ_SEED", str(random.SystemRandom().randrange(1 << 30)))
MOST_BYTES = 64 << 20
STRING, ARRAY = 8, 9


def read(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, READER, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_damaged_heads_end_in_facts_or_a_code(tmp_path):
    """10,000 of them (RBEE_FUZZ_INPUTS, RBEE_FUZZ_SEED to repeat): nothing but MODEL_CORRUPTED,
    none above a second, 64 MiB in all."""
    head = tmp_path / "head"
    with model_path().open("rb") as file:
        head.write_bytes(file.read(256 << 10))

    told = read("fuzz", head, SEED, INPUTS)

    story = f"seed {SEED}: {told}"
    assert set(told["ends"]) <= {"facts", "MODEL_CORRUPTED"}, story
    assert sum(told["ends"].values()) == INPUTS, story
    assert told["slowest_s"] < 1, story
    assert told["grown_bytes"] < MOST_BYTES, story


def pair(number: int, kind: int, value: bytes) -> bytes:
    """One entry of the metadata."""
    key = f"k{number}".encode()
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


LONG_STRINGS = [(STRING, struct.pack("<Q", 15 << 20) + bytes(15 << 20))] * 12
MANY_STRINGS = [(ARRAY, struct.pack("<IQ", STRING, 6_000_000) + bytes(48_000_000))]
DEEP_ARRAYS = [(ARRAY, struct.pack("<IQ", ARRAY, 3_000_000) + struct.pack("<IQ", 4, 0) * 3_000_000)]


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (LONG_STRINGS, "no tensors"),
        (MANY_STRINGS, "more metadata than any model"),
        (DEEP_ARRAYS, "array of entries of the unknown type 9"),
    ],
    ids=["long strings", "many strings", "arrays of arrays"],
)
def test_huge_metadata_is_stepped_over(tmp_path, pairs, words):
    """What a file claims is bounded: within 20 s on the slowest machine, and 64 MiB."""
    path = tmp_path / "x.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)))
        for number, (kind, value) in enumerate(pairs):
            file.write(pair(number, kind, value))

    told = read("one", path)

    assert words in told["problem"], told
    assert told["slowest_s"] < 20, told
    assert told["grown_bytes"] < MOST_BYTES, told
