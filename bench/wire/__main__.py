"""`python -m bench.wire`: the table of gateways, the ratios that are promised, and a profile."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from bench.wire.contenders import everybody
from bench.wire.report import goals, table, written
from bench.wire.rounds import LOADS, alternated

NAMES = ["nginx", "vllm-router", "litellm", "rbee"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wire", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=600, help="seconds; then it ends early")
    parser.add_argument("--only", nargs="*", default=NAMES, help=", ".join(NAMES))
    parser.add_argument("--loads", default="", help="only those whose name holds one of: a,b")
    parser.add_argument("--report", type=Path, help="write the table there")
    asked = parser.parse_args()
    # Whoever ends this early ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended early"))
    wanted = [one for one in asked.loads.split(",") if one]
    loads = tuple(one for one in LOADS if not wanted or any(word in one.name for word in wanted))
    with everybody(asked.only) as contenders:
        rows = alternated(contenders, loads, asked.rounds, asked.limit)
        memory = {one.name: one.resident_mib() for one in contenders if one.pids}
    print(table(rows, memory))
    print(goals(rows))
    if asked.report is not None:
        asked.report.write_text(written(rows, memory, asked.rounds))


if __name__ == "__main__":
    main()
