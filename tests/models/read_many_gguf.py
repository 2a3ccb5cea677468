"""Reads GGUF files in a process of its own, so that its memory can be looked at.

    python read_many_gguf.py fuzz HEAD_FILE SEED INPUTS | one FILE

Prints what became of them as JSON: codes, the slowest, and by how much the process grew.
"""

import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rbee.errors import RbeeError
from rbee.models.gguf import read_facts

EXTREMES = (0, 1, 0x7F, 0xFF, 0xFFFF, 1 << 24, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 64) - 1)


def main(act: str, path: str, seed: str = "0", inputs: str = "1") -> None:
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends: Counter[str] = Counter()
    slowest_s, slowest_at, problem = 0.0, -1, ""
    for number, file in enumerate(damaged(act, Path(path), int(seed), int(inputs))):
        began = time.monotonic()
        try:
            read_facts(file, model="m")
            ends["facts"] += 1
        except RbeeError as error:
            ends[error.code] += 1
            problem = str(error.facts["problem"])
        took_s = time.monotonic() - began
        if took_s > slowest_s:
            slowest_s, slowest_at = took_s, number
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle
    told = {"ends": ends, "slowest_s": slowest_s, "slowest_at": slowest_at, "problem": problem}
    print(json.dumps({**told, "grown_bytes": grown * 1024}))


def damaged(act, path, seed, inputs):
    """The files to be read, one after another."""
    if act == "one":
        yield path
        return
    head = path.read_bytes()
    dice = random.Random(seed)
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        for _ in range(inputs):
            file.seek(0)
            file.truncate()
            file.write(damage(head, dice))
            file.flush()
            yield Path(file.name)


def damage(head, dice):
    """Bytes changed, lengths made extreme, pieces doubled or cut out; mostly near the front."""
    data = bytearray(head[: dice.choice((200, 2000, 20_000, len(head)))])
    for _ in range(dice.randint(1, 6)):
        at = min(int(dice.expovariate(1 / 2000)), len(data) - 1)
        kind = dice.randrange(5)
        if kind == 0:
            data[at] = dice.randrange(256)
        elif kind == 1:
            width = dice.choice((4, 8))
            value = dice.choice(EXTREMES) & ((1 << 8 * width) - 1)
            data[at : at + width] = value.to_bytes(width, "little")
        elif kind == 2:
            data[at:at] = data[at : at + dice.randrange(1, 64)]
        elif kind == 3 and len(data) > 128:
            del data[at : at + dice.randrange(1, 64)]
        else:
            data[at : at + 4] = dice.randrange(14).to_bytes(4, "little")
    return bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
