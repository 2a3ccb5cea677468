"""`python -m rbee.worker SPEC_PATH` runs one model; `--describe [PATH]` tells of an engine."""

from __future__ import annotations

import sys
from pathlib import Path


def main(args: list[str]) -> int:
    """The exit code. A worker that is told to stop ends with 0, else as its engine ended."""
    match args:
        case ["--describe"]:
            from rbee.worker.describe import main as describe

            return describe("")
        case ["--describe", engine_path]:
            from rbee.worker.describe import main as describe

            return describe(engine_path)
        case ["--host-engine", spec_path, pooling]:
            from rbee.worker.hosted_engine import run as host

            return host(Path(spec_path), pooling)
        case [spec_path] if not spec_path.startswith("-"):
            from rbee.worker.supervisor import run as supervise

            return supervise(Path(spec_path))
    print("usage: python -m rbee.worker SPEC_PATH | --describe [ENGINE_PATH]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
