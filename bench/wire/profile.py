"""`python -m bench.wire.profile LOAD [FILE.svg]`: where the queen's time goes under one load.

A flamegraph by py-spy, which is installed once in an environment of its own; the functions that
stand on top most often are printed too.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.wire.contenders import rbee
from bench.wire.programs import installed
from bench.wire.rounds import LOADS, asked

_SECONDS = 5
_SHOWN = 25


def tops(stacks: str) -> tuple[Counter[str], Counter[str]]:
    """Samples by the function that runs, and by all functions that wait for it."""
    own: Counter[str] = Counter()
    under: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [re.sub(r":\d+\)", ")", frame) for frame in stack.split(";")]
        if any("Runner.run" in frame for frame in frames):
            own[frames[-1]] += int(count)
            under.update(dict.fromkeys(frames, int(count)))
    return own, under


def main() -> None:
    word = sys.argv[1] if len(sys.argv) > 1 else "JSON, 16"
    picture = Path(sys.argv[2] if len(sys.argv) > 2 else "queen.svg")
    load = next((one for one in LOADS if word in one.name), None)
    spy = installed("py-spy", "py-spy", program="py-spy")
    if load is None or spy is None:
        raise SystemExit(f"a load is one of: {', '.join(one.name for one in LOADS)}")
    with rbee() as contender, tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks"
        asked(contender, load)
        for form, file in (("raw", raw), ("flamegraph", picture)):
            words = [str(spy), "record", "-r", "500", "-d", str(_SECONDS), "-f", form]
            words += ["-o", str(file), "-p", str(contender.pids[0])]
            with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
                asked(contender, load, seconds=_SECONDS + 1)
        own, under = tops(raw.read_text())
    total = sum(own.values()) or 1
    for name, counts in (("running", own), ("running, or waiting for what they called", under)):
        print(f"{name}:")
        for frame, count in counts.most_common(_SHOWN):
            print(f"  {100 * count / total:5.1f} %  {frame}")
    print(f"flamegraph: {picture}")


if __name__ == "__main__":
    main()
